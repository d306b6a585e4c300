//! Messages that are handled together are each handled, acknowledged and tried again as if they were alone.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt;
use muster_bus::{Bus, Consume, Feed, MessageId, Recorded, Routes, Settings};
use muster_contracts::tool::v1::{ToolExecutionCompleted, ToolExecutionStarted};
use muster_contracts::{Addressed, Code, Fault, Stream};
use muster_testkit::{NatsServer, eventually};

use crate::payloads::noise;
use crate::{connect, operator, serve};

/// What came, batch by batch.
type Seen = Arc<Mutex<Vec<Vec<String>>>>;

fn feed() -> Feed {
    Feed {
        name: "log",
        stream: Stream::Executions,
        patterns: vec![ToolExecutionCompleted::SUBJECT.to_owned()],
        settings: Consume { concurrency: 64, max_deliver: 2, ..Consume::default() },
    }
}

async fn note(seen: Seen, events: Vec<Recorded>) -> Result<(), Fault> {
    let ids: Vec<_> = events.iter().map(|event| event.id.clone()).collect();
    if ids.iter().any(|id| id == "poison") {
        return Err(Fault::new(Code::Invalid, "there is poison in it"));
    }
    seen.lock().unwrap().push(ids);
    Ok(())
}

fn completed() -> ToolExecutionCompleted {
    ToolExecutionCompleted {
        execution_id: "e1".to_owned(),
        task: "t".to_owned(),
        tool: "echo".to_owned(),
        ..Default::default()
    }
}

async fn publish(nats: &NatsServer, ids: &[&str]) {
    let tool = connect(nats, "tool").await;
    for id in ids {
        let started = ToolExecutionStarted {
            execution_id: "e1".to_owned(),
            task: "t".to_owned(),
            tool: "echo".to_owned(),
            ..Default::default()
        };
        tool.publish(&started, &MessageId::random()).await.unwrap();
        tool.publish(&completed(), &MessageId::from((*id).to_owned())).await.unwrap();
    }
}

async fn tool_publishes(nats: &NatsServer, id: &str) {
    let tool = connect(nats, "tool").await;
    tool.publish(&completed(), &MessageId::from(id.to_owned())).await.unwrap();
}

/// The ids in their order, when there are so many and nothing is left to acknowledge.
async fn all(nats: &NatsServer, seen: &Seen, count: usize) -> Vec<String> {
    let jetstream = jetstream::new(operator(nats).await);
    let stream = jetstream.get_stream_no_info(Stream::Executions.name()).await.unwrap();
    eventually(Duration::from_secs(60), "everything is handled and acknowledged", || async {
        let found = seen.lock().unwrap().concat();
        let info = stream.consumer_info("execution-log-log").await.map_err(|e| e.to_string())?;
        let left = (info.num_pending, info.num_ack_pending);
        if found.len() == count && left == (0, 0) {
            Ok(found)
        } else {
            Err(format!("{} came, left {left:?}", found.len()))
        }
    })
    .await
}

#[tokio::test]
async fn what_is_there_comes_together_in_its_order_and_what_is_not_wanted_does_not() {
    let nats = NatsServer::start().await;
    let ids: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    publish(&nats, &ids.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let seen = Seen::default();
    let bus = connect(&nats, "execution-log").await;
    let _serving = serve(&bus, Routes::new(seen.clone()).feed_batches(feed(), note));
    assert_eq!(all(&nats, &seen, 150).await, ids);
    let most = seen.lock().unwrap().iter().map(Vec::len).max();
    assert!(most > Some(1) && most <= Some(32), "at most half of the concurrency: {most:?}");
}

#[tokio::test]
async fn each_of_many_is_delivered_once() {
    const COUNT: u64 = 8_000;
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    let events: Vec<_> =
        (0..COUNT).map(|number| (completed(), MessageId::from(number.to_string()))).collect();
    let publishing = futures::stream::iter(&events)
        .map(|(event, id)| tool.publish(event, id))
        .buffer_unordered(64);
    publishing.for_each(|stored| async move { assert!(stored.is_ok()) }).await;
    let seen = Seen::default();
    let bus = connect(&nats, "execution-log").await;
    let _serving = serve(&bus, Routes::new(seen.clone()).feed_batches(feed(), note));
    let found = all(&nats, &seen, events.len()).await;
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), events.len());
    let jetstream = jetstream::new(operator(&nats).await);
    let stream = jetstream.get_stream_no_info(Stream::Executions.name()).await.unwrap();
    let info = stream.consumer_info("execution-log-log").await.unwrap();
    assert_eq!(info.delivered.consumer_sequence, COUNT);
}

#[tokio::test]
async fn what_waits_for_its_turn_goes_back_where_the_service_has_to_end() {
    let nats = NatsServer::start().await;
    let settings = Settings {
        // Longer than this test: only what is given back comes again.
        ack_wait: Duration::from_secs(600),
        drain_timeout: Duration::from_millis(100),
        ..nats.settings("execution-log")
    };
    let bus = Bus::open(settings.clone()).await.unwrap();
    bus.ready().await;
    let seen = Seen::default();
    let stuck = |seen: Seen, events: Vec<Recorded>| async move {
        note(seen, events).await?;
        std::future::pending::<Result<(), Fault>>().await
    };
    let (stop, served) = serve(&bus, Routes::new(seen.clone()).feed_batches(feed(), stuck));
    let stream = jetstream::new(operator(&nats).await);
    let stream = stream.get_stream_no_info(Stream::Executions.name()).await.unwrap();
    // Two are in work for ever, the third one waits.
    for (count, id) in [(1, "a"), (2, "b"), (3, "c")] {
        tool_publishes(&nats, id).await;
        eventually(Duration::from_secs(60), "it is delivered", || async {
            let info =
                stream.consumer_info("execution-log-log").await.map_err(|e| e.to_string())?;
            let (delivered, taken) = (info.num_ack_pending, seen.lock().unwrap().len());
            if (delivered, taken) == (count, count.min(2)) {
                Ok(())
            } else {
                Err(format!("{delivered} delivered, {taken} taken"))
            }
        })
        .await;
    }
    drop(stop);
    served.await.unwrap().unwrap();
    let other = Bus::open(settings).await.unwrap();
    other.ready().await;
    let seen = Seen::default();
    let _serving = serve(&other, Routes::new(seen.clone()).feed_batches(feed(), note));
    let mut found = all(&nats, &seen, 3).await;
    found.sort_unstable();
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test]
async fn one_that_cannot_be_handled_becomes_a_dead_letter_alone() {
    let nats = NatsServer::start().await;
    publish(&nats, &["a", "poison", "b"]).await;
    let seen = Seen::default();
    let bus = connect(&nats, "execution-log").await;
    let _serving = serve(&bus, Routes::new(seen.clone()).feed_batches(feed(), note));
    let mut found = all(&nats, &seen, 2).await;
    found.sort_unstable();
    assert_eq!(found, ["a", "b"]);
    let operator = Bus::open(nats.operator("operator")).await.unwrap();
    eventually(Duration::from_secs(60), "the poison alone is a dead letter", || async {
        let letters = operator.dead_letters().list(10).await.map_err(|fault| fault.to_string())?;
        if letters.len() == 1 { Ok(()) } else { Err(format!("{} letters", letters.len())) }
    })
    .await;
}

#[tokio::test]
async fn more_bytes_than_are_asked_for_at_once_come_one_after_the_other() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    // Some 30 MB, also where they are compressed.
    let ids: BTreeSet<String> = (0..100).map(|number| number.to_string()).collect();
    for id in &ids {
        let result = Some(muster_contracts::Json(serde_json::json!(noise(400_000))));
        let event = ToolExecutionCompleted { result, ..completed() };
        tool.publish(&event, &MessageId::from(id.clone())).await.unwrap();
    }
    let seen = Seen::default();
    let bus = connect(&nats, "execution-log").await;
    let feed = Feed {
        settings: Consume { concurrency: 256, max_deliver: 2, ..Consume::default() },
        ..feed()
    };
    let _serving = serve(&bus, Routes::new(seen.clone()).feed_batches(feed, note));
    // Those that were compressed come each by itself, in any order.
    assert_eq!(all(&nats, &seen, 100).await.into_iter().collect::<BTreeSet<_>>(), ids);
    let log = nats.log();
    assert!(!log.contains("Slow Consumer"), "{log}");
}

#[tokio::test]
async fn a_large_message_comes_by_itself_and_whole() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    let text = "words ".repeat(200_000);
    let result = Some(muster_contracts::Json(serde_json::json!(text)));
    let large = ToolExecutionCompleted { result, ..completed() };
    tool.publish(&large, &MessageId::from("large".to_owned())).await.unwrap();
    let seen = Seen::default();
    let bus = connect(&nats, "execution-log").await;
    let whole = move |seen: Seen, events: Vec<Recorded>| async move {
        for event in &events {
            let found: ToolExecutionCompleted = event.decode()?;
            let length = found.result.unwrap_or_default().0.as_str().map(str::len);
            seen.lock().unwrap().push(vec![format!("{length:?}")]);
        }
        Ok::<_, Fault>(())
    };
    let _serving = serve(&bus, Routes::new(seen.clone()).feed_batches(feed(), whole));
    assert_eq!(all(&nats, &seen, 1).await, ["Some(1200000)"]);
}
