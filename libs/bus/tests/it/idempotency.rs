//! Ids are claimed together and recorded together, by several replicas at the same time, over crashes and where the bucket fails.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use bytes::{BufMut, BytesMut};
use muster_bus::{Consume, Delivery, Routes};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{NatsServer, eventually};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::consuming::{everything_is_acknowledged, store_duplicates};
use crate::{connect, operator, serve};

const PREFIX: &str = "$KV.IDEMPOTENCY.tool-tool-execution-requested";

/// How often the handler ran, for each event.
type Seen = Arc<Mutex<HashMap<String, u32>>>;

async fn count(seen: Seen, delivery: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    *seen.lock().unwrap().entry(delivery.idempotency_key.clone()).or_default() += 1;
    Ok(())
}

async fn sees(seen: &Seen, events: usize) {
    eventually(Duration::from_secs(60), "every event is handled", || async {
        let seen = seen.lock().unwrap().len();
        if seen >= events { Ok(()) } else { Err(seen) }
    })
    .await;
}

fn each_once(seen: &Seen) -> bool {
    seen.lock().unwrap().values().all(|times| *times == 1)
}

async fn bucket(nats: &NatsServer) -> Stream {
    jetstream::new(operator(nats).await).get_stream("KV_IDEMPOTENCY").await.unwrap()
}

fn key(event: &str) -> Vec<u8> {
    Sha256::digest(event.as_bytes()).iter().take(16).copied().collect()
}

/// The table of claims with one owner.
fn table(inbox: &str, events: &[&str]) -> BytesMut {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let mut body = BytesMut::from(&[1_u8][..]);
    body.put_u16(inbox.len() as u16);
    body.put_slice(inbox.as_bytes());
    body.put_u64(now);
    body.put_u32(events.len() as u32);
    events.iter().for_each(|event| body.put_slice(&key(event)));
    body
}

#[tokio::test]
async fn replicas_that_claim_at_the_same_time_handle_each_id_once_and_leave_few_messages() {
    const EVENTS: usize = 600;
    let nats = NatsServer::start().await;
    let seen = Seen::default();
    let mut serving = Vec::new();
    for _ in 0..3 {
        let bus = connect(&nats, "tool").await;
        let settings = Consume { concurrency: 64, ..Default::default() };
        serving.push((serve(&bus, Routes::new(seen.clone()).on_with(settings, count)), bus));
    }
    for event in 0..EVENTS {
        store_duplicates(&nats, &event.to_string(), 2).await;
    }
    sees(&seen, EVENTS).await;
    everything_is_acknowledged(&nats).await;
    assert!(each_once(&seen));
    // The table, for each replica one log that is being written, and those that are full; a replica that was held up for long begins another.
    let messages = bucket(&nats).await.cached_info().state.messages;
    assert!(messages <= EVENTS as u64 / 20, "{messages} messages");
}

#[tokio::test]
async fn what_a_process_had_claimed_when_it_died_is_taken_over_and_what_it_had_recorded_is_not() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let raw = jetstream::new(operator(&nats).await);
    let dead = "_INBOX_tool.gone";
    let (claims, log) = (format!("{PREFIX}.claims"), format!("{PREFIX}.done.gone.0"));
    raw.publish(claims, table(dead, &["begun", "ended"]).freeze()).await.unwrap().await.unwrap();
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(count));
    store_duplicates(&nats, "new", 1).await;
    sees(&seen, 1).await;
    // Recorded after the other process has read what there is: it must look again before it takes over.
    raw.publish(log, key("ended").into()).await.unwrap().await.unwrap();
    store_duplicates(&nats, "ended", 1).await;
    store_duplicates(&nats, "begun", 1).await;
    sees(&seen, 2).await;
    everything_is_acknowledged(&nats).await;
    let seen = seen.lock().unwrap();
    assert_eq!((seen.get("begun"), seen.get("ended"), seen.len()), (Some(&1), None, 2));
}

#[tokio::test]
async fn a_bucket_that_is_full_delays_messages_and_loses_none() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let raw = jetstream::new(operator(&nats).await);
    let usual = bucket(&nats).await.cached_info().config.clone();
    let full = jetstream::stream::Config { max_bytes: 1, ..usual.clone() };
    raw.update_stream(full).await.unwrap();
    let refused = raw.publish("$KV.IDEMPOTENCY.x.y", "z".into()).await.unwrap().await;
    assert!(refused.is_err(), "{refused:?} {:?}", bucket(&nats).await.cached_info());
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(count));
    for event in ["a", "b", "c"] {
        store_duplicates(&nats, event, 1).await;
    }
    eventually(Duration::from_secs(60), "messages are tried and put off", || async {
        let mut consumer = raw
            .get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>(
                "tool-tool-execution-requested",
                "EXECUTIONS",
            )
            .await
            .map_err(|error| error.to_string())?;
        let info = consumer.info().await.map_err(|error| error.to_string())?;
        if info.num_redelivered > 0 { Ok(()) } else { Err("none was".to_owned()) }
    })
    .await;
    assert!(seen.lock().unwrap().is_empty());
    raw.update_stream(usual).await.unwrap();
    sees(&seen, 3).await;
    everything_is_acknowledged(&nats).await;
    assert!(each_once(&seen));
}

#[tokio::test]
async fn claims_that_somebody_deletes_are_made_again_by_who_works() {
    let nats = NatsServer::start().await;
    let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
    let (effects, open) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
    let wait = |(effects, open): (Arc<AtomicU32>, CancellationToken),
                _: Delivery<ToolExecutionRequested>| async move {
        effects.fetch_add(1, Ordering::SeqCst);
        open.cancelled().await;
        Ok::<(), Fault>(())
    };
    let _one = serve(&one, Routes::new((effects.clone(), open.clone())).on(wait));
    store_duplicates(&nats, "long", 1).await;
    let began = |count: u32| {
        let effects = effects.clone();
        eventually(Duration::from_secs(60), "handlers began", move || {
            let effects = effects.clone();
            async move { effects.load(Ordering::SeqCst) >= count }
        })
    };
    began(1).await;
    bucket(&nats).await.purge().await.unwrap();
    // The next claim of the first process says again what it works on.
    store_duplicates(&nats, "next", 1).await;
    began(2).await;
    let _other = serve(&other, Routes::new((effects.clone(), open.clone())).on(wait));
    store_duplicates(&nats, "long", 20).await;
    store_duplicates(&nats, "last", 1).await;
    began(3).await;
    open.cancel();
    everything_is_acknowledged(&nats).await;
    assert_eq!(effects.load(Ordering::SeqCst), 3);
}
