//! What was given up is kept, found, handled again when its cause is mended, or removed.

mod finding;
mod replays;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use futures::{StreamExt, TryStreamExt};
use muster_bus::trace::Trace;
use muster_bus::{
    Bus, Consume, Delivery, Filter, Idempotency, Letter, MessageId, Pace, Range, Replayed, Routes,
    Start,
};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault, JsonObject, Stream, now};
use muster_testkit::{NatsServer, eventually};
use serde_json::json;

use crate::log::Log;
use crate::{command, connect, id, operator, serve};

/// A handler whose dependency is broken until somebody mends it.
#[derive(Clone, Default)]
struct Dependency {
    mended: Arc<AtomicBool>,
    calls: Arc<AtomicU32>,
    handled: Arc<Mutex<Vec<(String, u32)>>>,
}

impl Dependency {
    async fn call(self, command: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        if !self.mended.load(Ordering::SeqCst) {
            return Err(Fault::new(Code::NotFound, "the table \"orders\" is not there"));
        }
        // Time for another to come in between.
        tokio::time::sleep(Duration::from_millis(200)).await;
        self.handled.lock().unwrap().push((command.id.clone(), command.attempt));
        Ok(())
    }

    fn mend(&self) {
        self.mended.store(true, Ordering::SeqCst);
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    fn routes(&self, idempotency: Idempotency) -> Routes<Self> {
        let settings = Consume { idempotency, ..Consume::default() };
        Routes::new(self.clone()).on_with(settings, Self::call)
    }
}

const BY_HANDLER: Idempotency = Idempotency::Handler("the test counts");

async fn letters(reader: &Bus, count: usize) -> Vec<Letter> {
    let found = eventually(Duration::from_secs(60), "dead letters", || async {
        let page = reader.dead_letters().find(&Filter::default(), Range::ALL, 5000).await.unwrap();
        (page.letters.len() >= count).then_some(page.letters)
    });
    let found = found.await;
    assert_eq!(found.len(), count);
    found
}

async fn none_is_left(reader: &Bus) {
    assert_eq!(reader.dead_letters().list(10).await.unwrap(), []);
}

#[tokio::test]
async fn the_line_of_a_failure_has_the_trace_of_the_request_that_began_it() {
    let nats = NatsServer::start().await;
    let (tool, sender) = (connect(&nats, "tool").await, connect(&nats, "orchestration").await);
    let fails = |(): (), _: Delivery<ToolExecutionRequested>| async {
        Err::<(), _>(Fault::new(Code::NotFound, "no table"))
    };
    let (log, _logging) = Log::capture();
    let _tool = serve(&tool, Routes::new(()).on(fails));
    let trace = Trace::new();
    trace.run(async { sender.publish(&command("k"), &id("k")).await.unwrap() }).await;
    letters(&connect(&nats, "gateway").await, 1).await;
    let lines = log.lines(&trace.trace_id());
    assert_eq!(lines.len(), 1, "{lines:?}");
    for word in ["ERROR", "message becomes a dead letter", "tool-tool-execution-requested"] {
        assert!(lines[0].contains(word), "no {word:?} in {lines:?}");
    }
}

#[tokio::test]
async fn every_kind_of_failure_is_a_letter_with_its_code_and_reason() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let fails = |(): (), command: Delivery<ToolExecutionRequested>| async move {
        let code = match command.idempotency_key.as_str() {
            "panic" => panic!("as a bug would"),
            key => Code::from_name(key).unwrap(),
        };
        Err::<(), _>(Fault::new(code, "what it said"))
    };
    let settings = Consume { max_deliver: 1, ..Consume::default() };
    let _tool = serve(&tool, Routes::new(()).on_with(settings, fails));
    let mut expected = Vec::new();
    for code in Code::ALL {
        sender.publish(&command(code.name()), &id(code.name())).await.unwrap();
        let reason = if code == Code::Internal { "internal error" } else { "what it said" };
        expected.push((code.name(), reason));
    }
    sender.publish(&command("panic"), &id("panic")).await.unwrap();
    expected.push(("INTERNAL", "internal error"));
    let body = "{\"execution_id\": 7}";
    let raw = operator(&nats).await;
    raw.publish("tool.execution.requested", body.into()).await.unwrap();
    raw.flush().await.unwrap();
    let undecodable = "not a muster.tool.v1.ToolExecutionRequested: invalid type: integer `7`, expected a string at line 1 column 18";
    expected.push(("INVALID", undecodable));
    let letters = letters(&reader, expected.len()).await;
    let mut found: Vec<(&str, &str)> = letters
        .iter()
        .map(|letter| (letter.content.code.as_str(), letter.content.reason.as_str()))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(letters.iter().all(|letter| letter.content.deliveries == 1));
}

#[tokio::test]
async fn a_message_whose_process_crashes_each_time_becomes_a_letter_too() {
    let nats = NatsServer::start().await;
    let (reader, sender) = (connect(&nats, "gateway").await, connect(&nats, "orchestration").await);
    let message = ToolExecutionRequested {
        arguments: Some(JsonObject::wrap(json!({ "text": "x".repeat(100_000) }))),
        ..command("k")
    };
    sender.publish(&message, &id("k")).await.unwrap();
    let began = Arc::new(AtomicU32::new(0));
    let settings = Consume { max_deliver: 1, idempotency: BY_HANDLER, ..Consume::default() };
    // One more delivery than ours is there to write the letter; the process crashes then too.
    for crash in 1..=2 {
        let hangs = Routes::new(began.clone()).on_with(
            settings.clone(),
            |began: Arc<AtomicU32>, _: Delivery<ToolExecutionRequested>| async move {
                began.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Result<(), Fault>>().await
            },
        );
        let crashing = connect(&nats, "tool").await;
        let (_guard, task) = serve(&crashing, hangs);
        eventually(Duration::from_secs(60), "the handler works", || async {
            began.load(Ordering::SeqCst) >= crash
        })
        .await;
        task.abort();
    }
    none_is_left(&reader).await;

    let dependency = Dependency::default();
    dependency.mend();
    let tool = connect(&nats, "tool").await;
    let routes = Routes::new(dependency.clone()).on_with(settings, Dependency::call);
    let _serving = serve(&tool, routes);
    let letter = letters(&reader, 1).await.remove(0);
    let content = &letter.content;
    assert_eq!((content.code.as_str(), content.deliveries), ("MAX_DELIVERIES", 2));
    assert!(content.reason.contains("delivered 2 times and never answered"), "{}", content.reason);
    assert_eq!(content.message_id, id("k").as_str());
    let original = reader.dead_letters().original(content).await;
    assert_eq!(original.decode::<ToolExecutionRequested>().unwrap(), message);
    assert_eq!(reader.dead_letters().replay(letter.sequence).await.unwrap(), Replayed::Handled);
    assert_eq!(*dependency.handled.lock().unwrap(), [(id("k").as_str().to_owned(), 3)]);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn the_brokers_advisory_has_the_reason_and_the_letter() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let _tool = serve(&tool, Dependency::default().routes(Idempotency::Bus));
    connect(&nats, "orchestration").await.publish(&command("k"), &id("k")).await.unwrap();
    let letter = letters(&reader, 1).await.remove(0);
    let advisory = "$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>".to_owned();
    let told = reader.tail(Stream::Dlq, Start::Sequence(1), vec![advisory]).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), Box::pin(told).next()).await;
    let body: serde_json::Value = serde_json::from_slice(&told.unwrap().unwrap().body).unwrap();
    let reason =
        format!("dead letter {}: NOT_FOUND the table \"orders\" is not there", letter.sequence);
    assert_eq!(body["reason"], reason);
}

#[tokio::test]
async fn a_service_reads_and_answers_for_no_letters_but_its_own() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    let tool = connect(&nats, "tool").await;
    let reader = connect(&nats, "gateway").await;
    let _tool = serve(&tool, Dependency::default().routes(Idempotency::Bus));
    connect(&nats, "orchestration").await.publish(&command("k"), &id("k")).await.unwrap();
    letters(&reader, 1).await;
    let agent = async_nats::ConnectOptions::with_user_and_password(
        "agent".into(),
        nats.url_of("agent").parse::<async_nats::ServerAddr>().unwrap().password().unwrap().into(),
    )
    .custom_inbox_prefix("_INBOX_agent")
    .request_timeout(Some(Duration::from_millis(300)));
    let agent = agent.connect(nats.url()).await.unwrap();
    let tools = "tool-tool-execution-requested";
    for subject in [
        "$JS.API.STREAM.MSG.GET.DLQ".to_owned(),
        "$JS.API.STREAM.MSG.DELETE.DLQ".to_owned(),
        "$JS.API.STREAM.PURGE.DLQ".to_owned(),
        "$JS.API.CONSUMER.CREATE.DLQ".to_owned(),
        format!("$JS.API.CONSUMER.CREATE.DLQ.{tools}-letter.dlq.EXECUTIONS.{tools}"),
        format!("dlq.EXECUTIONS.{tools}"),
        "dead_letter.replay.tool".to_owned(),
    ] {
        let before = nats.violations().len();
        drop(agent.request(subject.clone(), "{\"seq\": 1}".into()).await);
        eventually(Duration::from_secs(60), &subject, || async {
            nats.violations().len() > before
        })
        .await;
    }
    let before = nats.violations().len();
    let mut stolen = agent.queue_subscribe("dead_letter.replay.tool", "tool".into()).await.unwrap();
    eventually(Duration::from_secs(60), "the subscription is refused", || async {
        nats.violations().len() > before
    })
    .await;
    letters(&reader, 1).await;
    assert!(
        futures::FutureExt::now_or_never(stolen.next()).is_none_or(|message| message.is_none())
    );
}
