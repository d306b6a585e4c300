//! The live stream of an execution.

use std::pin::Pin;

use chrono::Utc;
use eventsource_stream::{Event, Eventsource};
use futures::{Stream, StreamExt};
use muster_bus::MessageId;
use muster_contracts::{
    Json,
    agent::v1::RunEntry,
    llm::v1::Token,
    now,
    workflow::v1::{ExecutionState, JournalEntry},
};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::platform::{PATIENCE, Platform, problem};

const ID: &str = "e1";

/// An execution that the test drives.
struct Story<'a> {
    platform: &'a Platform,
    last: u64,
}

impl<'a> Story<'a> {
    fn begin(platform: &'a Platform) -> Self {
        platform.peers.set(ExecutionState {
            execution_id: ID.to_owned(),
            status: "running".to_owned(),
            ..Default::default()
        });
        Self { platform, last: 0 }
    }

    async fn journal(&mut self, types: &[&str]) {
        let facts = types.iter().map(|kind| Json(json!({"type": kind, "output": 1}))).collect();
        let entry = JournalEntry {
            execution_id: ID.to_owned(),
            input_id: "i".to_owned(),
            at: now(Utc::now()),
            facts,
            ..Default::default()
        };
        let journal = self.platform.bus.journal(&entry).unwrap();
        self.last = journal.append(&entry, self.last, &MessageId::random()).await.unwrap();
    }

    /// More than the system keeps for a client that does not read.
    async fn flood(&mut self) {
        for _ in 0..40 {
            let fact = json!({"type": "s", "output": "x".repeat(400_000)});
            let entry = JournalEntry {
                execution_id: ID.to_owned(),
                input_id: "i".to_owned(),
                facts: vec![Json(fact)],
                ..Default::default()
            };
            let journal = self.platform.bus.journal(&entry).unwrap();
            self.last = journal.append(&entry, self.last, &MessageId::random()).await.unwrap();
        }
    }

    async fn run(&self, kind: &str) {
        let entry = RunEntry {
            execution_id: ID.to_owned(),
            run_id: kind.to_owned(),
            task: "/do/0".to_owned(),
            agent: "writer".to_owned(),
            at: now(Utc::now()),
            fact: Some(Json(json!({"type": kind}))),
        };
        self.platform
            .bus
            .journal(&entry)
            .unwrap()
            .append(&entry, 0, &MessageId::random())
            .await
            .unwrap();
    }

    async fn token(&self, sequence: u32) {
        let token = Token {
            session: ID.to_owned(),
            sequence,
            delta: format!("t{sequence}"),
            agent: "writer".to_owned(),
            ..Default::default()
        };
        self.platform.bus.emit(&token).await.unwrap();
        // Nobody acknowledges it: what comes behind it comes when it is kept.
        muster_testkit::eventually(PATIENCE, "the token is kept", || async {
            let kept = self.platform.bus.latest(&token).await.unwrap();
            kept.is_some_and(|(_, kept)| kept.sequence == sequence)
        })
        .await;
    }

    /// A whole execution: s0 s1 · r · t1 t2 · s2 end.
    async fn tell(&mut self) {
        self.journal(&["s0", "s1"]).await;
        self.run("run_started").await;
        self.token(1).await;
        self.token(2).await;
        self.journal(&["s2", "execution_completed"]).await;
    }
}

const WHOLE: &str = "s0 s1 run_started t1 t2 s2 execution_completed done";

async fn open(platform: &Platform, last: Option<&str>) -> Response {
    let request = platform
        .request(reqwest::Method::GET, &format!("/v1/executions/{ID}/events"))
        .header("accept", "text/event-stream");
    let request =
        if let Some(last) = last { request.header("last-event-id", last) } else { request };
    request.send().await.unwrap()
}

type Events = Pin<Box<dyn Stream<Item = Event> + Send>>;

async fn follow(platform: &Platform, last: Option<&str>) -> Events {
    let response = open(platform, last).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    Box::pin(response.bytes_stream().eventsource().map(|event| event.unwrap()))
}

async fn next(events: &mut Events) -> Option<Event> {
    tokio::time::timeout(PATIENCE, events.next()).await.unwrap()
}

fn word(event: &Event) -> String {
    let data: Value = serde_json::from_str(&event.data).unwrap();
    match event.event.as_str() {
        "step" => data["type"].as_str().unwrap().to_owned(),
        "token" => data["delta"].as_str().unwrap().to_owned(),
        other => other.to_owned(),
    }
}

/// Everything until the stream ends.
async fn rest(events: &mut Events) -> Vec<Event> {
    let mut all = Vec::new();
    while let Some(event) = next(events).await {
        all.push(event);
    }
    all
}

fn words(events: &[Event]) -> String {
    events.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn steps_and_tokens_come_as_they_happen_and_done_ends_the_stream() {
    let platform = Platform::start().await;
    let mut story = Story::begin(&platform);
    let mut events = follow(&platform, None).await;
    story.journal(&["s0"]).await;
    assert_eq!(word(&next(&mut events).await.unwrap()), "s0");
    story.token(1).await;
    assert_eq!(word(&next(&mut events).await.unwrap()), "t1");
    story.run("run_started").await;
    let step = next(&mut events).await.unwrap();
    let data: Value = serde_json::from_str(&step.data).unwrap();
    assert_eq!(
        (&data["source"], &data["agent"], &data["task"]),
        (&json!("agent"), &json!("writer"), &json!("/do/0"))
    );
    story.token(2).await;
    story.journal(&["execution_completed"]).await;
    let last = rest(&mut events).await;
    assert_eq!(words(&last), "t2 execution_completed done");
    let done: Value = serde_json::from_str(&last[2].data).unwrap();
    assert_eq!(
        (&done["execution_id"], &done["status"], &done["output"]),
        (&json!(ID), &json!("completed"), &json!(1))
    );
}

#[tokio::test]
async fn who_comes_late_reads_the_whole_story_in_its_order() {
    let platform = Platform::start().await;
    Story::begin(&platform).tell().await;
    assert_eq!(words(&rest(&mut follow(&platform, None).await).await), WHOLE);
}

#[tokio::test]
async fn a_retried_execution_goes_on_behind_its_fault() {
    let platform = Platform::start().await;
    let mut story = Story::begin(&platform);
    story.journal(&["s0", "execution_faulted"]).await;
    let first = rest(&mut follow(&platform, None).await).await;
    assert_eq!(words(&first), "s0 execution_faulted done");
    story.journal(&["execution_retried", "s1"]).await;
    story.journal(&["execution_completed"]).await;
    let whole = "s0 execution_faulted execution_retried s1 execution_completed done";
    assert_eq!(words(&rest(&mut follow(&platform, None).await).await), whole);
    // Who had the first end gets what came behind it.
    let behind = rest(&mut follow(&platform, Some(&first[2].id)).await).await;
    assert_eq!(words(&behind), "execution_retried s1 execution_completed done");
}

#[tokio::test]
async fn every_event_can_be_resumed_from_without_a_gap_or_a_repeat() {
    let platform = Platform::start().await;
    Story::begin(&platform).tell().await;
    let all = rest(&mut follow(&platform, None).await).await;
    for (index, event) in all.iter().enumerate().take(all.len() - 1) {
        let after = rest(&mut follow(&platform, Some(&event.id)).await).await;
        assert_eq!(
            words(&after),
            words(&all[index + 1..]),
            "behind {} ({})",
            word(event),
            event.id
        );
    }
    // Behind the end there is nothing, which ends a browser's reconnecting.
    assert_eq!(open(&platform, Some(&all.last().unwrap().id)).await.status(), 204);
}

#[tokio::test]
async fn a_stream_goes_on_while_the_bus_restarts() {
    let platform = Platform::start().await;
    let mut story = Story::begin(&platform);
    let mut events = follow(&platform, None).await;
    story.journal(&["s0"]).await;
    story.token(1).await;
    // They come from two streams, in any order.
    let mut first =
        [word(&next(&mut events).await.unwrap()), word(&next(&mut events).await.unwrap())];
    first.sort();
    assert_eq!(first, ["s0", "t1"]);
    platform.nats.restart().await;
    platform.bus.ready().await;
    muster_testkit::eventually(PATIENCE, "requests are served", || async {
        platform.get("/v1/workflows").await.status() == 200
    })
    .await;
    story.journal(&["s1", "execution_completed"]).await;
    assert_eq!(words(&rest(&mut events).await), "s1 execution_completed done");
}

#[tokio::test]
async fn a_malformed_event_id_and_an_unknown_execution_are_refused() {
    let platform = Platform::start().await;
    problem(open(&platform, None).await, 404, &[ID]).await;
    Story::begin(&platform);
    problem(open(&platform, Some("yesterday")).await, 400, &["\"yesterday\"", "12.0-34"]).await;
    let query = platform
        .request(reqwest::Method::GET, &format!("/v1/executions/{ID}/events?last_event_id=x"));
    problem(query.header("accept", "text/event-stream").send().await.unwrap(), 400, &["\"x\""])
        .await;
}

#[tokio::test]
async fn a_client_that_never_reads_holds_no_stream_for_ever() {
    let platform = Platform::start().await;
    let mut story = Story::begin(&platform);
    story.flood().await;
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(platform.base.replace("http://", "")).await.unwrap();
        let head = format!(
            "GET /v1/executions/{ID}/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        // Only the beginning of the answer: it has a stream now.
        client.read_exact(&mut [0; 15]).await.unwrap();
        deaf.push(client);
    }
    problem(open(&platform, None).await, 429, &["2 live streams"]).await;
    muster_testkit::eventually(PATIENCE, "their streams are free", || async {
        open(&platform, None).await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn streams_above_the_limit_are_refused_until_one_is_closed() {
    let platform = Platform::start().await;
    Story::begin(&platform);
    let (one, _two) = (follow(&platform, None).await, follow(&platform, None).await);
    let refused = open(&platform, None).await;
    assert!(refused.headers().contains_key("retry-after"));
    problem(refused, 429, &["2 live streams"]).await;
    drop(one);
    muster_testkit::eventually(PATIENCE, "a closed stream makes room", || async {
        open(&platform, None).await.status() == 200
    })
    .await;
}
