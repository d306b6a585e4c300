//! Watchers and readers go on where they were, whatever happens to the server.

use std::time::Duration;

use async_nats::jetstream;
use futures::{Stream as Items, StreamExt, TryStreamExt};
use muster_bus::{After, Bucket, Bus, KeyChange, Versioned};
use muster_contracts::Stream;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault, subject};
use muster_testkit::NatsServer;

use crate::{command, connect, id, operator};

/// Longer than a reader takes to notice that its consumer is gone without a word.
const DEADLINE: Duration = Duration::from_secs(60);

async fn next<T>(items: &mut (impl Items<Item = T> + Unpin)) -> T {
    tokio::time::timeout(DEADLINE, items.next()).await.unwrap().unwrap()
}

fn set(key: &str, value: &str, revision: u64) -> Result<KeyChange<String>, Fault> {
    Ok(KeyChange { key: key.into(), value: Some(Versioned { value: value.into(), revision }) })
}

/// Deletes the consumers that nobody named: those of watchers and readers.
async fn delete_consumers(nats: &NatsServer, stream: &str) {
    let raw = jetstream::new(operator(nats).await);
    let stream = raw.get_stream(stream).await.unwrap();
    let names: Vec<String> = stream.consumer_names().try_collect().await.unwrap();
    assert!(!names.is_empty());
    for name in names {
        // One that a reader has left meanwhile is gone already.
        drop(stream.delete_consumer(&name).await);
    }
}

#[tokio::test]
async fn a_watch_tells_what_is_there_then_every_change_over_restarts_and_lost_consumers() {
    let nats = NatsServer::start().await;
    let bus: Bus = connect(&nats, "agent").await;
    let kv = bus.kv::<String>(Bucket::Registry);
    let first = kv.put("agents/a", &"one".to_owned()).await.unwrap();
    kv.put("others/x", &"not watched".to_owned()).await.unwrap();
    let mut changes = Box::pin(kv.watch("agents/"));
    assert_eq!(next(&mut changes).await, set("agents/a", "one", first));
    let second = kv.put("agents/a", &"two".to_owned()).await.unwrap();
    assert_eq!(next(&mut changes).await, set("agents/a", "two", second));
    nats.kill();
    nats.restart().await;
    let third = kv.put("agents/b", &"three".to_owned()).await.unwrap();
    assert_eq!(next(&mut changes).await, set("agents/b", "three", third));
    delete_consumers(&nats, "KV_REGISTRY").await;
    kv.delete("agents/a").await.unwrap();
    assert_eq!(next(&mut changes).await, Ok(KeyChange { key: "agents/a".into(), value: None }));
}

#[tokio::test]
async fn a_watch_goes_on_behind_a_value_of_another_type() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "agent").await;
    bus.kv::<u32>(Bucket::Registry).put("agents/a", &7).await.unwrap();
    let kv = bus.kv::<String>(Bucket::Registry);
    let mut changes = Box::pin(kv.watch(""));
    let fault = next(&mut changes).await.unwrap_err();
    assert_eq!(fault.code, Code::Internal);
    let revision = kv.put("agents/b", &"good".to_owned()).await.unwrap();
    assert_eq!(next(&mut changes).await, set("agents/b", "good", revision));
}

#[tokio::test]
async fn a_reader_whose_consumer_was_deleted_goes_on_behind_its_last_message() {
    let nats = NatsServer::start().await;
    let (publisher, reader) =
        (connect(&nats, "orchestration").await, connect(&nats, "operator").await);
    let pattern = subject::address::<ToolExecutionRequested>(&[]).unwrap();
    let mut messages = Box::pin(reader.follow(Stream::Executions, vec![pattern], After(0)));
    publisher.publish(&command("a"), &id("a")).await.unwrap();
    assert_eq!(next(&mut messages).await.id, id("a").as_str());
    delete_consumers(&nats, "EXECUTIONS").await;
    publisher.publish(&command("b"), &id("b")).await.unwrap();
    assert_eq!(next(&mut messages).await.id, id("b").as_str());
    // A server that stands still and goes on has not forgotten the reader, or the reader notices.
    nats.pause();
    tokio::time::sleep(Duration::from_secs(1)).await;
    nats.resume();
    publisher.publish(&command("c"), &id("c")).await.unwrap();
    assert_eq!(next(&mut messages).await.id, id("c").as_str());
}
