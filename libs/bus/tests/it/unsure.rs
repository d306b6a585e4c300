//! Writes whose first try was not acknowledged: what the stream says then, played by a test.

use std::time::Duration;

use async_nats::jetstream::{self, stream::Config};
use futures::StreamExt;
use muster_bus::{Bucket, Kv, KvError};
use muster_contracts::Code;
use muster_testkit::NatsServer;

use crate::{connect, operator};

const STREAM: &str = "KV_REGISTRY";
const PASSING: &str = r#"{"error":{"code":503,"err_code":10008,"description":"temporarily"}}"#;
const MOVED_ON: &str = r#"{"error":{"code":400,"err_code":10071,"description":"wrong last"}}"#;
const STORED_BEFORE: &str = r#"{"stream":"KV_REGISTRY","seq":9,"duplicate":true}"#;

/// A bucket whose stream is this list of answers; its keys are read as empty. Returns how many ids were seen, too.
async fn bucket(
    nats: &NatsServer,
    answers: &'static [&'static str],
) -> (Kv<u32>, tokio::task::JoinHandle<usize>) {
    let bus = connect(nats, "orchestration").await;
    let player = operator(nats).await;
    let jetstream = jetstream::new(player.clone());
    jetstream.delete_stream(STREAM).await.unwrap();
    let elsewhere =
        Config { name: STREAM.into(), subjects: vec!["elsewhere".into()], ..Default::default() };
    jetstream.create_stream(elsewhere).await.unwrap();
    let mut writes = crate::rows::hear(nats, "$KV.REGISTRY.>").await;
    let played = tokio::spawn(async move {
        let mut ids = std::collections::BTreeSet::new();
        for answer in answers {
            let write = writes.next().await.unwrap();
            ids.insert(write.headers.unwrap().get("Nats-Msg-Id").unwrap().to_string());
            player.publish(write.reply.unwrap(), (*answer).into()).await.unwrap();
            player.flush().await.unwrap();
        }
        ids.len()
    });
    (bus.kv(Bucket::Registry), played)
}

async fn update(answers: &'static [&'static str]) -> Result<u64, KvError> {
    let nats = NatsServer::start().await;
    let (kv, played) = bucket(&nats, answers).await;
    let written = kv.update("counter", &2, 7).await;
    let ids = tokio::time::timeout(Duration::from_secs(60), played).await.unwrap().unwrap();
    assert_eq!(ids, 1, "each try is the same write");
    written
}

#[tokio::test]
async fn a_write_that_is_refused_at_once_is_a_conflict() {
    let written = update(&[MOVED_ON]).await;
    assert!(matches!(written, Err(KvError::Conflict)), "{written:?}");
}

#[tokio::test]
async fn a_write_that_its_own_earlier_try_has_overtaken_is_written() {
    let written = update(&[PASSING, MOVED_ON, STORED_BEFORE]).await;
    assert_eq!(written.unwrap(), 9);
}

#[tokio::test]
async fn a_write_of_which_nobody_can_say_whether_it_was_overwritten_is_no_conflict() {
    let written = update(&[PASSING, MOVED_ON, MOVED_ON]).await;
    let Err(KvError::Fault(fault)) = written else { panic!("{written:?}") };
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("whether this write came before that is not known"), "{fault}");
}
