//! What was given up is kept, found, handled again when its cause is mended, or removed.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use futures::{StreamExt, TryStreamExt};
use muster_bus::{
    Bus, Consume, Delivery, Filter, Idempotency, Letter, MessageId, Pace, Range, Replayed, Routes,
    Start,
};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault, JsonObject, Stream, now};
use muster_testkit::{NatsServer, eventually};
use serde_json::json;

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
    let found = eventually(Duration::from_secs(15), "dead letters", || async {
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
async fn a_mended_message_is_handled_under_its_original_id_by_its_consumer_alone() {
    let nats = NatsServer::start().await;
    let (tool, log) = (connect(&nats, "tool").await, connect(&nats, "execution-log").await);
    let (sender, reader) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let (dependency, other) = (Dependency::default(), Dependency::default());
    other.mend();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    let _log = serve(&log, other.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let letter = letters(&reader, 1).await.remove(0);
    assert_eq!(letter.content.service, "tool");
    assert_eq!(letter.message_type(), "muster.tool.v1.ToolExecutionRequested");
    assert_eq!(letter.execution_id(), "e1");
    assert_eq!(reader.dead_letters().show(letter.sequence).await.unwrap(), letter);
    let original = reader.dead_letters().original(&letter.content).await;
    assert_eq!(original.decode::<ToolExecutionRequested>().unwrap(), command("k"));

    dependency.mend();
    let replayed = reader.dead_letters().replay(letter.sequence).await.unwrap();
    assert_eq!(replayed, Replayed::Handled);
    assert_eq!(*dependency.handled.lock().unwrap(), [(id("k").as_str().to_owned(), 2)]);
    assert_eq!(other.calls(), 1, "the other consumer has handled it long ago");
    none_is_left(&reader).await;
    let gone = reader.dead_letters().replay(letter.sequence).await.unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    assert!(gone.message.contains("it was replayed or purged, or never was"), "{gone}");
}

#[tokio::test]
async fn a_replay_that_fails_leaves_one_letter_with_the_new_reason() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let dependency = Dependency::default();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let first = letters(&reader, 1).await.remove(0);
    let replayed = reader.dead_letters().replay(first.sequence).await.unwrap();
    let Replayed::Failed { sequence, code, reason } = replayed else { panic!("{replayed:?}") };
    assert_eq!(
        (code.as_str(), reason.as_str()),
        ("NOT_FOUND", "the table \"orders\" is not there")
    );
    let second = letters(&reader, 1).await.remove(0);
    assert_eq!(second.sequence, sequence);
    assert_eq!((second.content.deliveries, second.content.replaces), (2, first.sequence));
    assert_eq!(second.content.body, first.content.body);
    assert_eq!(second.content.first_at, first.content.first_at);
    dependency.mend();
    assert_eq!(reader.dead_letters().replay(sequence).await.unwrap(), Replayed::Handled);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn two_who_replay_the_same_letter_at_once_make_one_effect() {
    for idempotency in [Idempotency::Bus, BY_HANDLER] {
        let nats = NatsServer::start().await;
        let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
        let (reader, second) = (connect(&nats, "gateway").await, connect(&nats, "gateway").await);
        let dependency = Dependency::default();
        let _one = serve(&one, dependency.routes(idempotency));
        let _other = serve(&other, dependency.routes(idempotency));
        let sender = connect(&nats, "orchestration").await;
        sender.publish(&command("k"), &id("k")).await.unwrap();
        let letter = letters(&reader, 1).await.remove(0);
        dependency.mend();
        let tries = (0..10).map(|n| {
            let letters = if n % 2 == 0 { &reader } else { &second }.dead_letters();
            async move { letters.replay(letter.sequence).await }
        });
        let results = futures::future::join_all(tries).await;
        assert!(results.contains(&Ok(Replayed::Handled)));
        for fault in results.into_iter().filter_map(Result::err) {
            assert!(matches!(fault.code, Code::Conflict | Code::NotFound), "{fault}");
        }
        assert_eq!(dependency.handled.lock().unwrap().len(), 1, "{idempotency:?}");
        none_is_left(&reader).await;
    }
}

#[tokio::test]
async fn a_message_that_was_handled_meanwhile_is_not_handled_again() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let dependency = Dependency::default();
    let _tool = serve(&tool, dependency.routes(Idempotency::Bus));
    let raw = operator(&nats).await;
    let send = || async {
        // Without Nats-Msg-Id: the stream takes the second one too.
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", "one-id");
        let body = serde_json::to_vec(&command("k")).unwrap();
        raw.publish_with_headers("tool.execution.requested", headers, body.into()).await.unwrap();
    };
    send().await;
    let letter = letters(&reader, 1).await.remove(0);
    dependency.mend();
    send().await;
    eventually(Duration::from_secs(10), "the second message is handled", || async {
        dependency.handled.lock().unwrap().len() == 1
    })
    .await;
    assert_eq!(reader.dead_letters().replay(letter.sequence).await.unwrap(), Replayed::Handled);
    assert_eq!(dependency.handled.lock().unwrap().len(), 1);
    none_is_left(&reader).await;
}

#[tokio::test]
async fn a_crash_while_a_letter_is_replayed_leaves_it() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let dependency = Dependency::default();
    let (guard, task) = serve(&tool, dependency.routes(Idempotency::Bus));
    sender.publish(&command("k"), &id("k")).await.unwrap();
    let letter = letters(&reader, 1).await.remove(0);
    drop(guard);
    task.await.unwrap().unwrap();

    let began = Arc::new(AtomicU32::new(0));
    let hangs = Routes::new(began.clone()).on(
        |began: Arc<AtomicU32>, _: Delivery<ToolExecutionRequested>| async move {
            began.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<Result<(), Fault>>().await
        },
    );
    let crashing = connect(&nats, "tool").await;
    let (_guard, task) = serve(&crashing, hangs);
    let replay = tokio::spawn({
        let letters = reader.dead_letters();
        async move { letters.replay(letter.sequence).await }
    });
    eventually(Duration::from_secs(20), "the replay has begun", || async {
        if replay.is_finished() {
            panic!("the replay ended before it began");
        }
        began.load(Ordering::SeqCst) == 1
    })
    .await;
    task.abort();
    drop(crashing);
    let fault = replay.await.unwrap().unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert_eq!(letters(&reader, 1).await[0], letter);

    let again = connect(&nats, "tool").await;
    dependency.mend();
    let _again = serve(&again, dependency.routes(Idempotency::Bus));
    let replayed = eventually(Duration::from_secs(20), "a replay that is answered", || async {
        reader.dead_letters().replay(letter.sequence).await.ok()
    });
    assert_eq!(replayed.await, Replayed::Handled);
    assert_eq!(dependency.handled.lock().unwrap().len(), 1);
    none_is_left(&reader).await;
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
        eventually(Duration::from_secs(20), "the handler works", || async {
            began.load(Ordering::SeqCst) == crash
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
    let told = tokio::time::timeout(Duration::from_secs(10), Box::pin(told).next()).await;
    let body: serde_json::Value = serde_json::from_slice(&told.unwrap().unwrap().body).unwrap();
    let reason =
        format!("dead letter {}: NOT_FOUND the table \"orders\" is not there", letter.sequence);
    assert_eq!(body["reason"], reason);
}

#[tokio::test]
async fn a_letter_that_nobody_can_replay_says_why() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let owner = connect(&nats, "no-service").await;
    let letter = |consumer: &str| DeadLetter {
        stream: "EXECUTIONS".into(),
        consumer: consumer.into(),
        sequence: 1,
        subject: "tool.execution.requested".into(),
        ..DeadLetter::default()
    };
    let away = owner.publish(&letter("tool-old"), &id("1")).await.unwrap().sequence;
    let odd = owner.publish(&letter("stranger"), &id("2")).await.unwrap().sequence;
    let check = async |sequence: u64, code: Code, text: &str| {
        let fault = reader.dead_letters().replay(sequence).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.message.contains(text), "{fault}");
    };
    check(away, Code::Unavailable, "nobody serves dead_letter.replay.tool").await;
    check(odd, Code::NotFound, "the consumer \"stranger\" is not one of a service").await;
    check(99, Code::NotFound, "there is no dead letter 99").await;
    let _tool = serve(&tool, Dependency::default().routes(Idempotency::Bus));
    eventually(Duration::from_secs(10), "the service answers", || async {
        let fault = reader.dead_letters().replay(away).await.unwrap_err();
        (fault.code == Code::NotFound).then(|| {
            assert!(
                fault
                    .message
                    .contains("tool has no consumer \"tool-old\" of the stream \"EXECUTIONS\""),
                "{fault}"
            );
        })
    })
    .await;
    assert_eq!(reader.dead_letters().list(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_thousand_letters_are_listed_by_pages_filtered_and_purged() {
    let nats = NatsServer::start().await;
    let (owner, reader) = (connect(&nats, "no-service").await, connect(&nats, "gateway").await);
    let publish = |n: u64| {
        let owner = owner.clone();
        let letter = DeadLetter {
            stream: "EXECUTIONS".into(),
            consumer: if n % 2 == 0 { "tool-a" } else { "agent-b" }.into(),
            sequence: n,
            code: if n % 10 == 0 { "UNAVAILABLE" } else { "INVALID" }.into(),
            headers: [("Muster-Execution".to_owned(), format!("e{}", n % 100))].into(),
            body: vec![b'x'; 200],
            first_at: now(Utc::now()),
            ..DeadLetter::default()
        };
        async move { owner.publish(&letter, &MessageId::random()).await.unwrap() }
    };
    futures::stream::iter(1..=1000).map(publish).buffered(64).collect::<Vec<_>>().await;
    let letters = reader.dead_letters();
    let (mut next, mut seen) = (Some(Range::ALL), Vec::new());
    while let Some(range) = next {
        let page = letters.find(&Filter::default(), range, 300).await.unwrap();
        seen.extend(page.letters.iter().map(|letter| letter.content.sequence));
        next = page.next;
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=1000).collect::<Vec<u64>>());

    let some = |text: &str| Some(text.to_owned());
    let count =
        async |filter: &Filter| letters.find(filter, Range::ALL, 5000).await.unwrap().letters.len();
    let consumer = Filter { consumer: some("agent-b"), ..Filter::default() };
    assert_eq!(count(&consumer).await, 500);
    let code = Filter { code: some("UNAVAILABLE"), ..Filter::default() };
    assert_eq!(count(&code).await, 100);
    let execution = Filter { execution_id: some("e7"), ..Filter::default() };
    assert_eq!(count(&execution).await, 10);
    assert_eq!(count(&Filter { until: Some(Utc::now()), ..Filter::default() }).await, 1000);
    assert_eq!(count(&Filter { since: Some(Utc::now()), ..Filter::default() }).await, 0);
    let wild = Filter { stream: some("*"), ..Filter::default() };
    let fault = letters.find(&wild, Range::ALL, 1);
    assert_eq!(fault.await.unwrap_err().code, Code::Invalid);

    assert_eq!(letters.purge_all(&consumer, Range::ALL).await.unwrap(), 500);
    assert_eq!(count(&Filter::default()).await, 500);
    let first = letters.list(1).await.unwrap().remove(0).0;
    letters.purge(first).await.unwrap();
    assert_eq!(letters.purge(first).await.unwrap_err().code, Code::NotFound);
    assert_eq!(count(&Filter::default()).await, 499);
}

#[tokio::test]
async fn many_letters_are_replayed_at_a_pace_and_what_fails_is_told() {
    let nats = NatsServer::start().await;
    let (tool, reader) = (connect(&nats, "tool").await, connect(&nats, "gateway").await);
    let sender = connect(&nats, "orchestration").await;
    let mended = Arc::new(AtomicBool::new(false));
    let handler = |mended: Arc<AtomicBool>, command: Delivery<ToolExecutionRequested>| async move {
        match mended.load(Ordering::SeqCst) && command.idempotency_key != "7" {
            true => Ok(()),
            false => Err(Fault::new(Code::Invalid, format!("bad {}", command.idempotency_key))),
        }
    };
    let _tool = serve(&tool, Routes::new(mended.clone()).on(handler));
    for n in 0..40 {
        sender.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    letters(&reader, 40).await;
    mended.store(true, Ordering::SeqCst);
    let all = Filter::default();
    let pace = Pace { per_second: 1000, limit: 15, time: Duration::from_secs(60) };
    let letters = reader.dead_letters();
    let first = letters.replay_all(&all, Range::ALL, pace).await.unwrap();
    assert_eq!(first.handled + first.failed, 15);
    let rest = letters.replay_all(&all, first.next.unwrap(), Pace { limit: 1000, ..pace });
    let rest = rest.await.unwrap();
    assert_eq!((rest.next, rest.running), (None, 0));
    assert_eq!((first.handled + rest.handled, first.failed + rest.failed), (39, 1));
    let errors = [first.errors, rest.errors].concat();
    let left = letters.list(10).await.unwrap();
    assert_eq!(errors, [(left[0].0, "INVALID: bad 7".to_owned())]);
    assert_eq!(left.len(), 1);

    // No time at all: nothing begins, and what is left is told.
    let pace = Pace { per_second: 1, limit: 10, time: Duration::ZERO };
    let none = letters.replay_all(&all, Range::ALL, pace).await.unwrap();
    assert_eq!((none.handled, none.failed), (0, 0));
    assert_eq!(none.next.unwrap().first, left[0].0);
}

#[tokio::test]
async fn a_stream_is_read_again_from_a_sequence_or_a_time_up_to_its_end() {
    let nats = NatsServer::start().await;
    let (tool, log) = (connect(&nats, "tool").await, connect(&nats, "orchestration").await);
    for n in 0..10 {
        log.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    let middle = Utc::now();
    for n in 10..20 {
        log.publish(&command(&n.to_string()), &id(&n.to_string())).await.unwrap();
    }
    let dependency = Dependency::default();
    dependency.mend();
    let _tool = serve(&tool, dependency.routes(BY_HANDLER));
    let reader = connect(&nats, "no-service").await;
    let read = async |from: Start, pattern: &str| {
        let found = reader.replay(Stream::Executions, from, vec![pattern.to_owned()]);
        let found: Vec<_> = found.try_collect().await.unwrap();
        found
            .iter()
            .map(|message| message.decode::<ToolExecutionRequested>().unwrap().idempotency_key)
            .collect::<Vec<_>>()
    };
    let numbers = |range: std::ops::Range<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(read(Start::Sequence(1), "tool.>").await, numbers(0..20));
    assert_eq!(read(Start::Sequence(15), ">").await, numbers(14..20));
    assert_eq!(read(Start::Time(middle), "tool.execution.requested").await, numbers(10..20));
    assert_eq!(read(Start::Now, ">").await, numbers(0..0));
    assert_eq!(read(Start::Sequence(1), "agent.>").await, numbers(0..0));
    assert_eq!(read(Start::Sequence(1000), ">").await, numbers(0..0));
    eventually(Duration::from_secs(20), "each is handled once", || async {
        dependency.calls() == 20
    })
    .await;

    let tail = reader.tail(Stream::Executions, Start::Time(middle), vec![">".into()]);
    let mut tail = Box::pin(tail.await.unwrap());
    let mut sequences = Vec::new();
    for _ in 0..10 {
        sequences.push(tail.next().await.unwrap().sequence);
    }
    assert_eq!(sequences, (11..=20).collect::<Vec<u64>>());
    log.publish(&command("new"), &id("new")).await.unwrap();
    assert_eq!(tail.next().await.unwrap().sequence, 21);
}
