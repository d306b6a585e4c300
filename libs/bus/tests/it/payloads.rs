//! Large bodies: compressed, in the object store, and what happens when they are damaged.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::object_store::{ObjectMetadata, ObjectStore};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use muster_bus::{After, AppendError, Bus, Consume, Delivery, Routes};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Code, Fault, JsonObject, Stream};
use muster_testkit::{Cluster, NatsServer, eventually};
use rand::RngCore;
use serde_json::json;

use crate::{command, connect, id, serve};

pub(crate) const LARGEST: usize = 10_485_760;

/// The operator's own connection, for what no service may do.
pub(crate) async fn operator(nats: &NatsServer) -> async_nats::Client {
    let address: async_nats::ServerAddr = nats.url_of("operator").parse().unwrap();
    let (user, password) = (address.username().unwrap(), address.password().unwrap());
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    options.connect(nats.url()).await.unwrap()
}

pub(crate) async fn raw(nats: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(operator(nats).await)
}

pub(crate) fn prose(size: usize) -> String {
    "once upon a time there was a message ".chars().cycle().take(size).collect()
}

/// Random letters: three fifths of their size stay.
pub(crate) fn noise(size: usize) -> String {
    let mut bytes = vec![0; size];
    rand::rng().fill_bytes(&mut bytes);
    bytes.into_iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}

fn with_text(key: &str, text: String) -> ToolExecutionRequested {
    let arguments = JsonObject::wrap(json!({ "text": text }));
    ToolExecutionRequested { arguments: Some(arguments), ..command(key) }
}

type Text = fn(usize) -> String;

/// A message whose JSON has exactly this many bytes.
fn sized(key: &str, size: usize, text: Text) -> ToolExecutionRequested {
    let rest = serde_json::to_vec(&with_text(key, String::new())).unwrap().len();
    with_text(key, text(size - rest))
}

pub(crate) type Seen = Arc<Mutex<Vec<ToolExecutionRequested>>>;

pub(crate) async fn note(
    seen: Seen,
    command: Delivery<ToolExecutionRequested>,
) -> Result<(), Fault> {
    seen.lock().unwrap().push(command.message);
    Ok(())
}

pub(crate) async fn stored(
    jetstream: &async_nats::jetstream::Context,
    sequence: u64,
) -> (HeaderMap, Bytes) {
    let stream = jetstream.get_stream("EXECUTIONS").await.unwrap();
    let message = stream.get_raw_message(sequence).await.unwrap();
    (message.headers, message.payload)
}

pub(crate) async fn names(store: &ObjectStore) -> Vec<String> {
    let objects: Vec<_> = store.list().await.unwrap().try_collect().await.unwrap();
    objects.into_iter().map(|object| object.name).collect()
}

async fn letters(nats: &NatsServer) -> Bus {
    Bus::open(nats.operator("gateway")).await.unwrap()
}

async fn one_letter(nats: &NatsServer) -> DeadLetter {
    let bus = letters(nats).await;
    let letter = eventually(Duration::from_secs(60), "a dead letter", || async {
        bus.dead_letters().list(10).await.ok()?.pop()
    });
    letter.await.1
}

#[tokio::test]
async fn messages_of_every_size_arrive_as_they_were_sent_and_travel_as_small_as_they_can() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let sender = connect(&nats, "orchestration").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    // Size of the JSON, its text, whether it is compressed, whether it is a claim.
    let table: [(usize, Text, bool, bool); 8] = [
        (8 << 10, prose, false, false),
        ((8 << 10) + 1, prose, true, false),
        (512 << 10, prose, true, false),
        (512 << 10, noise, true, false),
        (1 << 20, prose, true, false),
        (1 << 20, noise, true, true),
        (LARGEST, prose, true, false),
        (LARGEST, noise, true, true),
    ];
    let mut sent = Vec::new();
    for (index, (size, text, compressed, claimed)) in table.into_iter().enumerate() {
        let message = sized(&format!("k{index}"), size, text);
        assert_eq!(serde_json::to_vec(&message).unwrap().len(), size);
        let published = sender.publish(&message, &id(&index.to_string())).await.unwrap();
        let (headers, body) = stored(&jetstream, published.sequence).await;
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        assert_eq!(header("Content-Encoding").as_deref(), compressed.then_some("zstd"), "{size}");
        assert_eq!(header("Muster-Claim").is_some(), claimed, "{size}");
        assert_eq!(body.is_empty(), claimed, "{size}");
        assert!(body.len() <= 512 << 10, "{size}");
        sent.push(message);
    }
    eventually(Duration::from_secs(60), "every message", || async {
        seen.lock().unwrap().len() == table.len()
    })
    .await;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_by(|one, other| one.idempotency_key.cmp(&other.idempotency_key));
    assert!(seen == sent, "a message is not what was sent");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_with_both_sizes_before_anything_is_sent() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "orchestration").await, raw(&nats).await);
    let message = sized("k", LARGEST + 1, noise);
    let fault = bus.publish(&message, &id("k")).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert_eq!(
        fault.message,
        "muster.tool.v1.ToolExecutionRequested has 10485761 bytes, but may have at most 10485760"
    );
    assert!(names(&jetstream.get_object_store("CLAIMS").await.unwrap()).await.is_empty());
    let mut stream = jetstream.get_stream("EXECUTIONS").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 0);
}

fn entry(input: &str, text: String) -> JournalEntry {
    JournalEntry {
        execution_id: "e1".into(),
        input_id: input.into(),
        facts: vec![json!({ "text": text }).into()],
        ..Default::default()
    }
}

#[tokio::test]
async fn a_journal_of_large_entries_is_read_and_followed_and_its_newest_found() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let journal = bus.journal(&entry("", String::new())).unwrap();
    let entries = [entry("a", noise(3 << 20)), entry("b", prose(1 << 20)), entry("c", "x".into())];
    let mut last = 0;
    for entry in &entries {
        last = journal.append(entry, last, &id(&entry.input_id)).await.unwrap();
    }
    let read = journal.read().await.unwrap();
    assert!(read.iter().map(|(_, entry)| entry).eq(&entries));
    let reader = connect(&nats, "gateway").await;
    let newest = reader.latest(&entry("", String::new())).await.unwrap();
    assert_eq!(newest, Some((last, entries[2].clone())));
    let followed = reader.follow(Stream::Executions, vec!["journal.e1".into()], After(0)).take(3);
    let followed: Vec<_> = followed.collect().await;
    assert!(followed.iter().map(|entry| entry.decode::<JournalEntry>().unwrap()).eq(entries));
}

#[tokio::test]
async fn a_second_try_after_the_object_was_stored_is_the_same_object() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "orchestration").await, raw(&nats).await);
    let claims = jetstream.get_object_store("CLAIMS").await.unwrap();
    let journal = bus.journal(&entry("", String::new())).unwrap();
    let large = entry("a", noise(1 << 20));
    // As after a crash between the two: the object is there and the entry is not.
    let refused = journal.append(&large, 7, &id("a")).await;
    assert!(matches!(refused, Err(AppendError::Conflict)));
    let first = names(&claims).await;
    journal.append(&large, 0, &id("a")).await.unwrap();
    assert_eq!(names(&claims).await, first);
    assert_eq!(first.len(), 1);
    // The same id with another body is a duplicate, and must not change the body of the first one.
    let other = journal.append(&entry("a", noise(1 << 20)), 0, &id("a")).await;
    assert!(matches!(other, Err(AppendError::Conflict)));
    assert_eq!(journal.read().await.unwrap()[0].1, large);
}

#[tokio::test]
async fn a_message_whose_body_is_missing_is_tried_again_and_then_a_dead_letter_with_its_claim() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let sender = connect(&nats, "orchestration").await;
    let claims = jetstream.get_object_store("CLAIMS").await.unwrap();
    let published = sender.publish(&with_text("k", noise(1 << 20)), &id("k")).await.unwrap();
    let name = names(&claims).await.remove(0);
    let object = read(&claims, &name).await;
    claims.delete(&name).await.unwrap();
    let seen = Seen::default();
    let settings = Consume { max_deliver: 2, ..Default::default() };
    let _serving = serve(&bus, Routes::new(seen.clone()).on_with(settings, note));
    let letter = one_letter(&nats).await;
    assert_eq!((letter.code.as_str(), letter.deliveries), ("UNAVAILABLE", 2));
    let expected = format!("the message's body CLAIMS/{name} is not in the object store");
    assert_eq!(letter.reason, expected);
    let (headers, _) = stored(&jetstream, published.sequence).await;
    for header in ["Muster-Claim", "Muster-Claim-Sha256", "Muster-Claim-Size", "Content-Encoding"] {
        assert_eq!(letter.headers[header], headers.get(header).unwrap().as_str());
    }
    assert!(letter.body.is_empty() && seen.lock().unwrap().is_empty());
    // Whoever puts it back can try the letter again.
    claims.put(ObjectMetadata::from(name.as_str()), &mut object.as_slice()).await.unwrap();
    assert_eq!(read(&claims, &letter.headers["Muster-Claim"]["CLAIMS/".len()..]).await, object);
}

async fn read(store: &ObjectStore, name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    let mut object = store.get(name).await.unwrap();
    tokio::io::AsyncReadExt::read_to_end(&mut object, &mut body).await.unwrap();
    body
}

#[tokio::test]
async fn a_body_that_was_changed_is_a_dead_letter_at_once() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let sender = connect(&nats, "orchestration").await;
    let claims = jetstream.get_object_store("CLAIMS").await.unwrap();
    sender.publish(&with_text("k", noise(1 << 20)), &id("k")).await.unwrap();
    let name = names(&claims).await.remove(0);
    let mut object = read(&claims, &name).await;
    object[7] ^= 1;
    claims.put(ObjectMetadata::from(name.as_str()), &mut object.as_slice()).await.unwrap();
    let _serving = serve(&bus, Routes::new(Seen::default()).on(note));
    let letter = one_letter(&nats).await;
    assert_eq!((letter.code.as_str(), letter.deliveries), ("INVALID", 1));
    assert!(letter.reason.contains("was changed"), "{}", letter.reason);
}

#[tokio::test]
async fn bodies_that_are_not_what_their_headers_say_are_dead_letters_and_the_consumer_goes_on() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    let bomb = zstd::bulk::compress(&vec![b' '; 200 << 20], 1).unwrap();
    let table = [
        ("Content-Encoding", "br", b"{}".to_vec(), "but must be zstd or identity"),
        ("Content-Encoding", "zstd", b"{}".to_vec(), "the body is not zstd"),
        ("Content-Encoding", "zstd", bomb, "16777216 bytes"),
        ("Muster-Claim", "ARTIFACTS/x", Vec::new(), "but must be CLAIMS/<object>"),
        ("Muster-Claim", "CLAIMS/x", Vec::new(), "but must be 64 hexadecimal digits"),
        ("Muster-Sealed", "v9", b"{}".to_vec(), "Muster-Sealed is \"v9\", but must be v1"),
    ];
    for (header, value, body, _) in &table {
        let mut headers = HeaderMap::new();
        headers.insert(*header, *value);
        let subject = "tool.execution.requested";
        let ack = jetstream.publish_with_headers(subject, headers, body.clone().into());
        ack.await.unwrap().await.unwrap();
    }
    let reader = letters(&nats).await;
    let letters = eventually(Duration::from_secs(60), "all dead letters", || async {
        let letters = reader.dead_letters().list(10).await.ok()?;
        (letters.len() == table.len()).then_some(letters)
    })
    .await;
    for (header, value, _, reason) in &table {
        let found = letters.iter().any(|(_, letter)| {
            letter.code == "INVALID"
                && letter.headers.get(*header).is_some_and(|kept| kept == value)
                && letter.reason.contains(reason)
        });
        assert!(found, "{header}: {value} {reason}");
    }
    let sender = connect(&nats, "orchestration").await;
    sender.publish(&command("good"), &id("good")).await.unwrap();
    eventually(Duration::from_secs(60), "the good one", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_keeps_a_large_body_as_it_was_stored() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let sender = connect(&nats, "orchestration").await;
    let refuse = |(), _: Delivery<ToolExecutionRequested>| async {
        Err(Fault::new(Code::Invalid, "no such tool"))
    };
    let _serving = serve(&bus, Routes::new(()).on(refuse));
    let published = sender.publish(&with_text("k", noise(850 << 10)), &id("k")).await.unwrap();
    let (headers, body) = stored(&jetstream, published.sequence).await;
    assert!(body.len() > 400 << 10);
    let letter = one_letter(&nats).await;
    assert_eq!(letter.reason, "no such tool");
    assert_eq!(
        letter.headers["Content-Encoding"],
        headers.get("Content-Encoding").unwrap().as_str()
    );
    assert!(letter.body == body, "the letter has another body");
}

#[tokio::test]
async fn what_a_plain_worker_sends_is_a_dead_letter_however_large_it_is() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "tool").await, raw(&nats).await);
    let _serving = serve(&bus, Routes::new(Seen::default()).on(note));
    // As large as the server takes, and in the letter a third larger.
    let body = Bytes::from(noise(10_000_000));
    let ack = jetstream.publish("tool.execution.requested", body.clone()).await.unwrap();
    ack.await.unwrap();
    let letter = one_letter(&nats).await;
    assert!(letter.body == body, "the letter has another body");
}

#[tokio::test]
async fn a_reader_passes_a_message_that_cannot_be_read_and_tells_why() {
    let nats = NatsServer::start().await;
    let (bus, jetstream) = (connect(&nats, "orchestration").await, raw(&nats).await);
    let journal = bus.journal(&entry("", String::new())).unwrap();
    let entries = [entry("a", noise(1 << 20)), entry("b", "x".into())];
    let first = journal.append(&entries[0], 0, &id("a")).await.unwrap();
    journal.append(&entries[1], first, &id("b")).await.unwrap();
    let claims = jetstream.get_object_store("CLAIMS").await.unwrap();
    claims.delete(&names(&claims).await[0]).await.unwrap();
    let reader = connect(&nats, "gateway").await;
    let followed = reader.follow(Stream::Executions, vec!["journal.e1".into()], After(0)).take(2);
    let followed: Vec<_> = followed.collect().await;
    assert!(followed[0].body.is_empty());
    let fault = followed[0].decode::<JournalEntry>().unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("is not in the object store"), "{fault}");
    assert_eq!(followed[1].decode::<JournalEntry>().unwrap(), entries[1]);
    assert_eq!(journal.read().await.unwrap_err(), fault);
}

#[tokio::test(flavor = "multi_thread")]
async fn large_messages_outlive_a_kill_of_the_server_and_come_once() {
    const MESSAGES: usize = 20;
    let nats = NatsServer::start().await;
    let sender = connect(&nats, "orchestration").await;
    let tool = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _serving = serve(&tool, Routes::new(seen.clone()).on(note));
    let sending = tokio::spawn(async move {
        let mut sent = Vec::new();
        for index in 0..MESSAGES {
            let message = with_text(&format!("k{index:02}"), noise(1 << 20));
            let id = id(&index.to_string());
            // As a handler that is tried again.
            while sender.publish(&message, &id).await.is_err() {}
            sent.push(message);
        }
        sent
    });
    let some = |count: usize| {
        let seen = seen.clone();
        async move { seen.lock().unwrap().len() >= count }
    };
    eventually(Duration::from_secs(60), "some messages", || some(5)).await;
    nats.kill();
    nats.restart().await;
    let sent = sending.await.unwrap();
    eventually(Duration::from_secs(60), "every message", || some(MESSAGES)).await;
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.sort_by(|one, other| one.idempotency_key.cmp(&other.idempotency_key));
    assert!(seen == sent, "a message is lost, doubled or not what was sent");
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_cluster_a_body_is_there_for_every_node_when_its_message_is() {
    let cluster = Cluster::start().await;
    let mut nodes = Vec::new();
    for node in 0..Cluster::NODES {
        let bus = Bus::open(cluster.settings_at(node, "orchestration")).await.unwrap();
        tokio::time::timeout(Duration::from_secs(60), bus.ready()).await.unwrap();
        nodes.push(bus);
    }
    let mut last = 0;
    for index in 0..6 {
        let large = entry(&index.to_string(), noise(1 << 20));
        let journal = nodes[index % Cluster::NODES].journal(&large).unwrap();
        last = journal.append(&large, last, &id(&index.to_string())).await.unwrap();
        for node in &nodes {
            assert!(node.latest(&large).await.unwrap() == Some((last, large.clone())));
        }
    }
}
