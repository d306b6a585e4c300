//! A journal has one writer at a time.

use muster_bus::{AppendError, Bucket, KvError};
use muster_contracts::workflow::v1::JournalEntry;
use muster_testkit::NatsServer;

use crate::{connect, id};

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
