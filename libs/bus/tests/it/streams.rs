//! Following streams, timers, tokens, artifacts, and what happens when the server restarts.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use muster_bus::After;
use muster_contracts::llm::v1::Token;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Stream, subject};
use muster_testkit::{NatsServer, eventually};

use crate::{connect, connect_freely, id};

const PATIENCE: Duration = Duration::from_secs(60);

fn entry(input: &str) -> JournalEntry {
    JournalEntry { execution_id: "e1".into(), input_id: input.into(), ..Default::default() }
}

#[tokio::test]
async fn a_follower_goes_on_behind_its_last_message_after_a_restart_of_the_server() {
    let nats = NatsServer::start().await;
    let (bus, publisher) = (connect(&nats, "gateway").await, connect(&nats, "orchestration").await);
    let pattern = subject::address::<JournalEntry>(&[("execution_id", "e1")]).unwrap();
    let mut follower = Box::pin(bus.follow(Stream::Executions, vec![pattern], After(0)));
    publisher.publish(&entry("a"), &id("a")).await.unwrap();
    let first = follower.next().await.unwrap();
    assert_eq!(first.decode::<JournalEntry>().unwrap().input_id, "a");
    assert_eq!(
        (first.execution_id.as_str(), first.message_type.as_str()),
        ("e1", "muster.workflow.v1.JournalEntry")
    );
    nats.kill();
    nats.restart().await;
    publisher.publish(&entry("b"), &id("b")).await.unwrap();
    let second = tokio::time::timeout(PATIENCE, follower.next()).await.unwrap().unwrap();
    assert_eq!(second.decode::<JournalEntry>().unwrap().input_id, "b");
    assert_eq!(second.sequence, first.sequence + 1);
}

#[tokio::test]
async fn memory_streams_are_there_again_after_a_restart_and_tokens_flow() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "model").await;
    let token =
        |text: &str| Token { session: "s1".into(), delta: text.into(), ..Default::default() };
    let pattern = subject::address::<Token>(&[("session", "s1")]).unwrap();
    let mut tokens = Box::pin(bus.follow(Stream::LlmStreams, vec![pattern], After(0)));
    bus.emit(&token("before")).await.unwrap();
    assert_eq!(tokens.next().await.unwrap().decode::<Token>().unwrap().delta, "before");
    nats.kill();
    nats.restart().await;
    let after = async {
        loop {
            // A token that is sent before the stream is there again is lost, as tokens may be.
            drop(bus.emit(&token("after")).await);
            if let Ok(Some(token)) =
                tokio::time::timeout(Duration::from_millis(200), tokens.next()).await
            {
                break token.decode::<Token>().unwrap().delta;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, after).await.unwrap(), "after");
}

#[tokio::test]
async fn tokens_are_sent_again_with_their_sequence_for_those_who_only_listen() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "model").await;
    let raw = nats.client("operator").await;
    let mut streamed = raw.subscribe("agent.token.streamed").await.unwrap();
    // A flush does not wait for the server; an answer on the same connection says that it has read the subscription.
    raw.request("$JS.API.INFO", "".into()).await.unwrap();
    bus.emit(&Token { session: "s1".into(), delta: "hello".into(), ..Default::default() })
        .await
        .unwrap();
    let message = tokio::time::timeout(PATIENCE, streamed.next()).await.unwrap().unwrap();
    assert_eq!(message.headers.unwrap().get("Nats-Sequence").unwrap().as_str(), "1");
}

#[tokio::test]
async fn large_objects_come_back_as_they_were() {
    let nats = NatsServer::start().await;
    let artifacts = connect(&nats, "gateway").await.artifacts();
    let body = Bytes::from(vec![7u8; 5 << 20]);
    artifacts.put("documents/a", body.clone()).await.unwrap();
    assert_eq!(artifacts.get("documents/a").await.unwrap(), Some(body));
    assert_eq!(artifacts.get("documents/none").await.unwrap(), None);
}

#[tokio::test]
async fn a_bus_that_is_opened_before_its_server_gets_ready_by_itself() {
    let nats = NatsServer::start().await;
    nats.kill();
    let bus = muster_bus::Bus::open(nats.settings("gateway")).await.unwrap();
    assert!(!bus.is_ready());
    assert!(bus.ping().await.is_err());
    nats.restart().await;
    tokio::time::timeout(PATIENCE, bus.ready()).await.unwrap();
    eventually(Duration::from_secs(60), "the bus is ready", || async { bus.is_ready() }).await;
}
