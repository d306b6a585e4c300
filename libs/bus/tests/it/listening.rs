//! What must not be missed: keys that come and go in great number, and events from a place on.

use std::time::Duration;

use async_nats::jetstream;
use muster_bus::{Bucket, Kv, Versioned};
use muster_contracts::Code;
use muster_contracts::workflow::v1::CloudEvent;
use muster_testkit::{NatsServer, eventually};

use crate::{connect, id, operator};

const LONG: Duration = Duration::from_secs(60);

async fn under(keys: &Kv<u64>, tokens: &str) -> Vec<(String, u64)> {
    let (mut found, mut from) = (Vec::new(), 0);
    while let Some((key, Versioned { value, revision })) =
        keys.next_under(tokens, from).await.unwrap()
    {
        found.push((key, value));
        from = revision + 1;
    }
    found
}

#[tokio::test]
async fn keys_are_found_by_how_they_begin_and_nothing_of_a_forgotten_one_stays() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let keys = bus.kv::<u64>(Bucket::Listeners);
    for (key, value) in [("a.1", 1), ("ab.1", 2), ("b.1", 3), ("a.2.x", 4), ("a", 5)] {
        keys.put(key, &value).await.unwrap();
    }
    let found = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), *value)).collect()
    };
    assert_eq!(under(&keys, "a").await, found(&[("a.1", 1), ("a.2.x", 4)]));
    assert_eq!(under(&keys, "a.2").await, found(&[("a.2.x", 4)]));
    keys.put("a.1", &6).await.unwrap();
    keys.forget("a.2.x").await.unwrap();
    keys.forget("never.there").await.unwrap();
    assert_eq!(under(&keys, "a").await, found(&[("a.1", 6)]));
    keys.put("a.2.x", &7).await.unwrap();
    assert_eq!(under(&keys, "a").await, found(&[("a.1", 6), ("a.2.x", 7)]));
    for key in ["a.1", "ab.1", "b.1", "a.2.x", "a"] {
        keys.forget(key).await.unwrap();
    }
    let raw = jetstream::new(operator(&nats).await);
    eventually(LONG, "the bucket is empty", || async {
        let state = raw.get_stream("KV_LISTENERS").await.unwrap().cached_info().state.clone();
        if state.messages == 0 { Ok(()) } else { Err(state.messages) }
    })
    .await;
    for wrong in ["a.>", "*", "", "a."] {
        assert_eq!(keys.next_under(wrong, 0).await.unwrap_err().code, Code::Invalid, "{wrong:?}");
    }
}

#[tokio::test]
async fn events_are_read_from_a_place_on_also_where_one_cannot_be_read() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    assert!(bus.next_event::<CloudEvent>(0).await.unwrap().is_none());
    let event = |n: u32| CloudEvent {
        id: n.to_string(),
        source: "/tests".into(),
        r#type: "t".into(),
        ..Default::default()
    };
    let first = bus.publish(&event(1), &id("1")).await.unwrap().sequence;
    let nonsense = operator(&nats).await;
    nonsense.publish("workflow.event.published", "no json".into()).await.unwrap();
    nonsense.flush().await.unwrap();
    let second = bus.publish(&event(2), &id("2")).await.unwrap().sequence;
    let read = async |after: u64| {
        let found = bus.next_event::<CloudEvent>(after).await.unwrap();
        found.map(|(place, event)| (place, event.id))
    };
    assert_eq!(read(0).await, Some((first, "1".to_owned())));
    assert_eq!(read(first).await, Some((second, "2".to_owned())));
    assert_eq!(read(second).await, None);
}
