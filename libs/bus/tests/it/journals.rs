//! A journal has one writer at a time.

use std::time::Duration;

use muster_bus::{AppendError, Bucket, Bus, Delivery, KvError, Routes};
use muster_contracts::Code;
use muster_contracts::tool::v1::ToolExecutionCompleted;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest, JournalEntry};
use muster_testkit::{NatsServer, eventually};

use crate::{connect, id, operator, serve};

fn entry(input: &str) -> JournalEntry {
    JournalEntry { execution_id: "e1".into(), input_id: input.into(), ..Default::default() }
}

#[tokio::test]
async fn entries_are_read_back_in_their_order() {
    let nats = NatsServer::start().await;
    let journal = connect(&nats, "orchestration").await.journal(&entry("")).unwrap();
    assert!(journal.read().await.unwrap().is_empty());
    let first = journal.append(&entry("a"), 0, &id("a")).await.unwrap();
    let second = journal.append(&entry("b"), first, &id("b")).await.unwrap();
    let read = journal.read().await.unwrap();
    assert_eq!(
        read.iter()
            .map(|(sequence, entry)| (*sequence, entry.input_id.as_str()))
            .collect::<Vec<_>>(),
        [(first, "a"), (second, "b")]
    );
    assert_eq!(journal.read_after(first).await.unwrap().len(), 1);
}

#[tokio::test]
async fn rubbish_in_a_journal_is_not_blamed_on_who_reads_it_and_is_told_with_its_place() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let journal = bus.journal(&entry("")).unwrap();
    let first = journal.append(&entry("a"), 0, &id("a")).await.unwrap();
    let raw = operator(&nats).await;
    raw.publish("journal.e1", "rubbish".into()).await.unwrap();
    let fault = eventually(Duration::from_secs(60), "the rubbish is read", || async {
        journal.read().await.err()
    })
    .await;
    assert_eq!(fault.code, Code::Internal);
    let place = format!("journal.e1 at sequence {} of EXECUTIONS", first + 1);
    assert!(fault.message.contains(&place), "{fault}");
    assert!(fault.message.contains("not a muster.workflow.v1.JournalEntry"), "{fault}");
    assert_eq!(bus.latest(&entry("")).await.unwrap_err().code, Code::Internal);

    // Its place is told to whoever asks over the bus, and no message is tried again and again because of it.
    let read = |bus: Bus| async move { bus.journal(&entry(""))?.read().await };
    let state = move |bus: Bus, _: GetExecutionRequest| async move {
        read(bus).await.map(|_entries| ExecutionState::default())
    };
    let ended = move |bus: Bus, _: Delivery<ToolExecutionCompleted>| async move {
        read(bus).await.map(drop)
    };
    let _serving = serve(&bus, Routes::new(bus.clone()).rpc(state).on(ended));
    let gateway = connect(&nats, "gateway").await;
    let question = GetExecutionRequest { execution_id: "e1".into() };
    eventually(Duration::from_secs(60), "the place is told", || async {
        let told = gateway.request(&question).await.unwrap_err();
        if told == fault { Ok(()) } else { Err(told) }
    })
    .await;
    let event = ToolExecutionCompleted { tool: "x".into(), ..Default::default() };
    connect(&nats, "tool").await.publish(&event, &id("ended")).await.unwrap();
    let letters = eventually(Duration::from_secs(60), "a dead letter", || async {
        let letters = gateway.dead_letters().list(2).await.unwrap();
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    let (_, letter) = &letters[0];
    assert_eq!((letter.code.as_str(), letter.deliveries), ("INTERNAL", 1));
    assert_eq!(letter.reason, fault.message);
}

#[tokio::test]
async fn a_stale_writer_is_refused_and_nothing_is_appended() {
    let nats = NatsServer::start().await;
    let journal = connect(&nats, "orchestration").await.journal(&entry("")).unwrap();
    let first = journal.append(&entry("a"), 0, &id("a")).await.unwrap();
    journal.append(&entry("b"), first, &id("b")).await.unwrap();
    assert!(matches!(
        journal.append(&entry("stale"), first, &id("s")).await,
        Err(AppendError::Conflict)
    ));
    assert!(matches!(
        journal.append(&entry("again"), 0, &id("t")).await,
        Err(AppendError::Conflict)
    ));
    assert_eq!(journal.read().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_entry_that_is_there_already_is_a_conflict_for_its_second_writer() {
    let nats = NatsServer::start().await;
    let journal = connect(&nats, "orchestration").await.journal(&entry("")).unwrap();
    journal.append(&entry("a"), 0, &id("same")).await.unwrap();
    assert!(matches!(
        journal.append(&entry("a"), 0, &id("same")).await,
        Err(AppendError::Conflict)
    ));
}

#[tokio::test]
async fn a_key_is_created_once_and_updated_from_its_revision_only() {
    let nats = NatsServer::start().await;
    let store = connect(&nats, "model").await.kv::<String>(Bucket::Results);
    let revision = store.create("a/b", &"one".to_owned()).await.unwrap();
    assert!(matches!(store.create("a/b", &"two".to_owned()).await, Err(KvError::Conflict)));
    store.update("a/b", &"three".to_owned(), revision).await.unwrap();
    assert!(matches!(
        store.update("a/b", &"four".to_owned(), revision).await,
        Err(KvError::Conflict)
    ));
    assert_eq!(store.get("a/b").await.unwrap().unwrap().value, "three");
    store.delete("a/b").await.unwrap();
    assert!(store.get("a/b").await.unwrap().is_none());
    store.create("a/b", &"anew".to_owned()).await.unwrap();
    assert_eq!(store.keys("a/").await.unwrap(), ["a/b"]);
}
