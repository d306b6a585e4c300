//! Messages that are read together come in the order of their stream, whatever they are.

use std::time::Duration;

use futures::{Stream as Items, StreamExt};
use muster_bus::{Bus, End, MessageId, Most, Recorded};
use muster_contracts::tool::v1::{ToolExecutionCompleted, ToolExecutionStarted};
use muster_contracts::{Addressed, Json, Stream};
use muster_testkit::NatsServer;

use crate::connect;
use crate::payloads::noise;

const MOST: Most = Most { messages: 32, bytes: 4 << 20 };

fn completed(result: Option<Json>) -> ToolExecutionCompleted {
    ToolExecutionCompleted {
        execution_id: "e1".to_owned(),
        task: "t".to_owned(),
        tool: "echo".to_owned(),
        result,
        ..Default::default()
    }
}

async fn publish(tool: &Bus, id: &str, result: Option<Json>) {
    let started = ToolExecutionStarted {
        execution_id: "e1".to_owned(),
        task: "t".to_owned(),
        tool: "echo".to_owned(),
        ..Default::default()
    };
    tool.publish(&started, &MessageId::random()).await.unwrap();
    tool.publish(&completed(result), &MessageId::from(id.to_owned())).await.unwrap();
}

async fn follow(
    bus: &Bus,
    sequence: u64,
    most: Most,
) -> impl Items<Item = Vec<Recorded>> + Send + use<> {
    let patterns = vec![ToolExecutionCompleted::SUBJECT.to_owned()];
    let end = bus.end_of(Stream::Executions).await.unwrap();
    bus.follow_together(Stream::Executions, patterns, End { sequence, ..end }, most)
}

/// What came together, until so many have come.
async fn batches(
    following: impl Items<Item = Vec<Recorded>> + Send,
    count: usize,
) -> Vec<Vec<Recorded>> {
    let mut following = std::pin::pin!(following);
    let (mut found, mut seen) = (Vec::new(), 0);
    while seen < count {
        let next = tokio::time::timeout(Duration::from_secs(60), following.next()).await;
        let batch = next.unwrap().unwrap();
        seen += batch.len();
        found.push(batch);
    }
    found
}

fn ids(batches: &[Vec<Recorded>]) -> Vec<&str> {
    batches.iter().flatten().map(|message| message.id.as_str()).collect()
}

#[tokio::test]
async fn what_is_there_comes_together_in_its_order_and_what_is_not_wanted_does_not() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    let wanted: Vec<String> = (0..150).map(|number| number.to_string()).collect();
    for id in &wanted {
        publish(&tool, id, None).await;
    }
    let bus = connect(&nats, "execution-log").await;
    let found = batches(follow(&bus, 0, MOST).await, 150).await;
    assert_eq!(ids(&found), wanted);
    assert_eq!(found.iter().map(Vec::len).max(), Some(MOST.messages));
    let behind = found.first().unwrap().last().unwrap().sequence;
    let rest = batches(follow(&bus, behind, MOST).await, 150 - MOST.messages).await;
    assert_eq!(ids(&rest), wanted[MOST.messages..]);
}

#[tokio::test]
async fn of_a_backlog_as_much_comes_together_as_is_wanted() {
    const COUNT: usize = 4_000;
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    let (event, numbers) = (completed(None), 0..COUNT);
    let events: Vec<_> = numbers.map(|number| MessageId::from(number.to_string())).collect();
    let publishing =
        futures::stream::iter(&events).map(|id| tool.publish(&event, id)).buffer_unordered(64);
    publishing.for_each(|stored| async move { assert!(stored.is_ok()) }).await;
    let bus = connect(&nats, "execution-log").await;
    let most = Most { messages: COUNT / 2, ..MOST };
    let mut following = Box::pin(follow(&bus, 0, most).await);
    // Of the first ones only some may be there.
    let first = batches(&mut following, 1).await.concat();
    // Whoever writes them down takes a while.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let rest = batches(&mut following, COUNT - first.len()).await;
    assert_eq!(rest.first().map(Vec::len), Some(most.messages.min(COUNT - first.len())));
    assert_eq!(first.iter().chain(rest.iter().flatten()).count(), COUNT);
}

#[tokio::test]
async fn bodies_are_bounded_together_and_large_ones_keep_their_place() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    // Some travel as they are, some compressed, some lie in the object store.
    let words = |count: usize| Json("words ".repeat(count).into());
    for (id, result) in [
        ("a", None),
        ("b", Some(Json(noise(900_000).into()))),
        ("c", None),
        ("d", Some(words(200_000))),
        ("e", Some(words(1_000))),
        ("f", None),
    ] {
        publish(&tool, id, result).await;
    }
    let bus = connect(&nats, "execution-log").await;
    let found = batches(follow(&bus, 0, Most { bytes: 1_000_000, ..MOST }).await, 6).await;
    assert_eq!(ids(&found), ["a", "b", "c", "d", "e", "f"]);
    assert!(found.len() > 1, "more than a million bytes came together");
    for message in found.iter().flatten() {
        assert!(message.fault().is_none());
        message.decode::<ToolExecutionCompleted>().unwrap();
    }
}

#[tokio::test]
async fn a_reader_that_stands_still_is_not_hung_up_on() {
    let nats = NatsServer::start().await;
    let tool = connect(&nats, "tool").await;
    let bus = connect(&nats, "execution-log").await;
    let mut following = Box::pin(follow(&bus, 0, MOST).await);
    publish(&tool, "0", None).await;
    assert_eq!(batches(&mut following, 1).await.len(), 1);
    // Some 60 MB, which a server that pushes them all at once would not let wait.
    for number in 1..150 {
        publish(&tool, &number.to_string(), Some(Json(noise(400_000).into()))).await;
    }
    let found = batches(&mut following, 149).await;
    assert_eq!(ids(&found).len(), 149);
    assert!(found.iter().flatten().is_sorted_by_key(|message| message.sequence));
    let log = nats.log();
    assert!(!log.contains("Slow Consumer"), "{log}");
}
