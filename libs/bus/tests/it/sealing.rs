//! Sealed fields: nobody between the sender and the reader sees them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream::{self, stream};
use futures::{StreamExt, TryStreamExt};
use muster_bus::{After, Bucket, Bus, Consume, Delivery, Routes, SealKeys, Settings};
use muster_contracts::agent::v1::AgentMessage;
use muster_contracts::model::v1::{GetKeyRequest, KeyReply};
use muster_contracts::{Code, Fault, Stream};
use muster_testkit::{NatsServer, eventually};

use crate::payloads::{noise, operator};
use crate::{id, serve};

const CANARY: &str = "canary-4711-tweet";
const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const NEW: &str = "new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";
const OTHER_OLD: &str = "old:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

/// A connection with these keys, as the operator and under a name that the contract does not know: it sends and reads whatever it likes.
async fn connect(nats: &NatsServer, service: &str, keys: &str) -> Bus {
    let mut settings = nats.operator(service);
    settings.ack_wait = Duration::from_secs(1);
    if !keys.is_empty() {
        settings.seal_keys = SealKeys::parse(keys).unwrap();
    }
    let bus = Bus::open(settings).await.unwrap();
    bus.ready().await;
    bus
}

fn message(content: String) -> AgentMessage {
    AgentMessage {
        to_agent: "critic".into(),
        from_agent: "writer".into(),
        content,
        message_type: "note".into(),
        timestamp: None,
    }
}

type Seen = Arc<Mutex<Vec<AgentMessage>>>;

async fn note(seen: Seen, message: Delivery<AgentMessage>) -> Result<(), Fault> {
    seen.lock().unwrap().push(message.message);
    Ok(())
}

async fn refuse(_app: (), _: Delivery<AgentMessage>) -> Result<(), Fault> {
    Err(Fault::new(Code::Invalid, "nobody is there"))
}

/// Everything that the server keeps, in every stream, bucket and object store: subject, headers, and the body as it is and without compression.
async fn all_that_is_kept(nats: &NatsServer) -> Vec<u8> {
    let jetstream = jetstream::new(operator(nats).await);
    let mut kept = Vec::new();
    let names: Vec<String> = jetstream.stream_names().try_collect().await.unwrap();
    assert!(names.iter().any(|name| name == "OBJ_CLAIMS") && names.len() > 10);
    for name in names {
        let mut stream: stream::Stream = jetstream.get_stream(name).await.unwrap();
        let state = stream.info().await.unwrap().state.clone();
        for sequence in state.first_sequence..=state.last_sequence {
            let Ok(message) = stream.get_raw_message(sequence).await else { continue };
            kept.extend_from_slice(message.subject.as_bytes());
            kept.extend_from_slice(format!("{:?}", message.headers).as_bytes());
            if let Ok(plain) = zstd::bulk::decompress(&message.payload, 16 << 20) {
                kept.extend(plain);
            }
            kept.extend_from_slice(&message.payload);
        }
    }
    kept
}

fn has(kept: &[u8], text: &str) -> bool {
    kept.windows(text.len()).any(|part| part == text.as_bytes())
}

#[tokio::test]
async fn a_sealed_field_arrives_and_no_stream_bucket_or_object_store_has_it_in_plain() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", NEW).await;
    let seen = Seen::default();
    let serving = serve(&bus, Routes::new(seen.clone()).on(note));
    let large = format!("{CANARY}{}", noise(1 << 20));
    for content in [CANARY.to_owned(), CANARY.repeat(1000), large] {
        let text = content.len().to_string();
        bus.publish(&message(content.clone()), &id(&text)).await.unwrap();
        eventually(Duration::from_secs(60), "it is handled", || async {
            seen.lock().unwrap().last() == Some(&message(content.clone()))
        })
        .await;
    }
    drop(serving);
    // A dead letter keeps what came, and a reader sees it only with the key.
    let _refusing = serve(&connect(&nats, "refuser", NEW).await, Routes::new(()).on(refuse));
    eventually(Duration::from_secs(60), "dead letters", || async {
        bus.dead_letters().list(10).await.unwrap().len() == 3
    })
    .await;
    let followed: Vec<_> =
        bus.follow(Stream::Agents, vec!["agent.*.inbox".into()], After(0)).take(3).collect().await;
    assert_eq!(followed[0].decode::<AgentMessage>().unwrap(), message(CANARY.into()));
    let body = std::str::from_utf8(&followed[0].body).unwrap();
    assert!(body.contains("\"content\":\"sealed:v1:new:") && body.contains("writer"), "{body}");
    let kept = all_that_is_kept(&nats).await;
    assert!(has(&kept, "agent.critic.inbox") && has(&kept, "sealed:v1:new:"));
    assert!(!has(&kept, CANARY));
}

#[tokio::test]
async fn without_a_key_nothing_is_sent_and_the_setting_is_named() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", "").await;
    let fault = bus.publish(&message(CANARY.into()), &id("1")).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("`content`") && fault.message.contains("MUSTER_SEAL_KEYS"));
    assert!(!has(&all_that_is_kept(&nats).await, CANARY));
    // There is nothing to seal.
    bus.publish(&message(String::new()), &id("2")).await.unwrap();
}

#[tokio::test]
async fn keys_are_rotated_without_a_gap() {
    let nats = NatsServer::start().await;
    let before = connect(&nats, "editor", OLD).await;
    let during = connect(&nats, "editor", &format!("{OLD},{NEW}")).await;
    let after = connect(&nats, "editor", &format!("{NEW},{OLD}")).await;
    for (index, bus) in [&before, &during, &after].into_iter().enumerate() {
        bus.publish(&message(CANARY.into()), &id(&index.to_string())).await.unwrap();
    }
    let patterns = vec!["agent.*.inbox".to_owned()];
    for bus in [during, after] {
        let read: Vec<_> =
            bus.follow(Stream::Agents, patterns.clone(), After(0)).take(3).collect().await;
        for message in &read {
            assert_eq!(message.decode::<AgentMessage>().unwrap().content, CANARY);
        }
    }
    let read: Vec<_> = before.follow(Stream::Agents, patterns, After(0)).take(3).collect().await;
    assert!(read[1].decode::<AgentMessage>().is_ok());
    let fault = read[2].decode::<AgentMessage>().unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("\"new\", which is not in MUSTER_SEAL_KEYS"), "{fault}");
}

#[tokio::test]
async fn a_message_that_does_not_open_is_a_dead_letter_and_kept_as_it_is() {
    let nats = NatsServer::start().await;
    let sender = connect(&nats, "writer", OLD).await;
    let seen = Seen::default();
    let settings = Consume { max_deliver: 2, ..Default::default() };
    let check = async |service: &str, keys: &str, code: &str, deliveries: u32, reason: &str| {
        let bus = connect(&nats, service, keys).await;
        let _serving = serve(&bus, Routes::new(seen.clone()).on_with(settings.clone(), note));
        let letter = eventually(Duration::from_secs(60), "a dead letter", || async {
            let letters = bus.dead_letters().list(10).await.unwrap();
            letters.into_iter().find(|(_, letter)| letter.consumer.starts_with(service))
        });
        let (_, letter) = letter.await;
        assert_eq!((letter.code.as_str(), letter.deliveries), (code, deliveries));
        assert!(letter.reason.contains(reason), "{}", letter.reason);
        assert_eq!(letter.headers["Muster-Sealed"], "v1");
        assert!(has(&letter.body, "sealed:v1:old:"));
    };
    sender.publish(&message(CANARY.into()), &id("1")).await.unwrap();
    check(
        "stranger",
        OTHER_OLD,
        "INVALID",
        1,
        "field `content` of muster.agent.v1.AgentMessage does not open with the key \"old\"",
    )
    .await;
    check("nobody", "", "UNAVAILABLE", 2, "\"old\", which is not in MUSTER_SEAL_KEYS").await;
    assert!(seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_bucket_keeps_sealed_fields_sealed_where_there_are_keys() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", NEW).await;
    let inbox = bus.kv_sealed::<AgentMessage>(Bucket::Work);
    let letter = message(CANARY.into());
    inbox.put("inbox/critic/1", &letter).await.unwrap();
    assert_eq!(inbox.get("inbox/critic/1").await.unwrap().unwrap().value, letter);
    let kept = all_that_is_kept(&nats).await;
    assert!(has(&kept, "inbox/critic/1") && has(&kept, "sealed:v1:new:") && !has(&kept, CANARY));
    // What was written without keys is read with them, and not the other way round.
    let open = connect(&nats, "editor", "").await.kv_sealed::<AgentMessage>(Bucket::Work);
    open.put("inbox/critic/2", &letter).await.unwrap();
    assert_eq!(inbox.get("inbox/critic/2").await.unwrap().unwrap().value, letter);
    assert_eq!(open.get("inbox/critic/1").await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn a_value_that_cannot_be_opened_is_told_from_a_bucket_that_cannot_be_read() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", OLD).await;
    let letter = message(CANARY.into());
    bus.kv_sealed::<AgentMessage>(Bucket::Work).put("inbox/critic/1", &letter).await.unwrap();
    // The key that sealed it is gone.
    let bus = connect(&nats, "editor", NEW).await;
    let inbox = bus.kv_sealed::<AgentMessage>(Bucket::Work);
    let reason = inbox.get_or_reason("inbox/critic/1").await.unwrap().unwrap().unwrap_err();
    assert_eq!(reason.code, Code::Unavailable);
    assert!(reason.message.contains("\"old\"") && !reason.message.contains(CANARY), "{reason}");
    assert_eq!(inbox.get_or_reason("inbox/critic/9").await.unwrap(), None);
    // What only looks sealed is content like any other; without keys nobody could tell.
    let odd = message("sealed:v1:gone:AAAA".into());
    inbox.put("inbox/critic/2", &odd).await.unwrap();
    assert_eq!(inbox.get("inbox/critic/2").await.unwrap().unwrap().value, odd);
    let open = connect(&nats, "editor", "").await.kv_sealed::<AgentMessage>(Bucket::Work);
    let fault = open.put("inbox/critic/3", &odd).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("`content` begins as a sealed field"), "{fault}");
}

#[tokio::test]
async fn a_sealed_value_opens_in_its_own_bucket_only() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", NEW).await;
    let letter = message(CANARY.into());
    bus.kv_sealed::<AgentMessage>(Bucket::Work).put("k", &letter).await.unwrap();
    let sealed = bus.kv::<serde_json::Value>(Bucket::Work).get("k").await.unwrap().unwrap().value;
    assert!(sealed["content"].as_str().unwrap().starts_with("sealed:v1:new:"));
    bus.kv(Bucket::Registry).put("k", &sealed).await.unwrap();
    let moved = bus.kv_sealed::<AgentMessage>(Bucket::Registry).get("k").await.unwrap_err();
    assert_eq!(moved.code, Code::Invalid);
}

#[tokio::test]
async fn a_sealed_field_cannot_be_moved_to_another_message() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "editor", NEW).await;
    bus.publish(&message(CANARY.into()), &id("1")).await.unwrap();
    let jetstream = jetstream::new(operator(&nats).await);
    let stream = jetstream.get_stream("AGENTS").await.unwrap();
    let mut stolen = stream.get_last_raw_message_by_subject("agent.critic.inbox").await.unwrap();
    for header in ["ce-id", "Nats-Msg-Id"] {
        stolen.headers.insert(header, "2");
    }
    let ack = jetstream.publish_with_headers(stolen.subject, stolen.headers, stolen.payload);
    ack.await.unwrap().await.unwrap();
    let patterns = vec!["agent.*.inbox".to_owned()];
    let read: Vec<_> = bus.follow(Stream::Agents, patterns, After(0)).take(2).collect().await;
    assert!(read[0].decode::<AgentMessage>().is_ok());
    let fault = read[1].decode::<AgentMessage>().unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("sealed with another key or for another message"), "{fault}");
}

async fn give_key(_app: (), request: GetKeyRequest) -> Result<KeyReply, Fault> {
    Ok(KeyReply { provider: request.provider, key: CANARY.into(), ..Default::default() })
}

#[tokio::test]
async fn a_reply_is_sealed_on_its_way() {
    let nats = NatsServer::start().await;
    let (server, client) =
        (connect(&nats, "vault", NEW).await, connect(&nats, "editor", NEW).await);
    let raw = operator(&nats).await;
    let mut everything = raw.subscribe(">").await.unwrap();
    // A round trip, which a flush is not: now the server knows the subscription.
    raw.request("$JS.API.INFO", "".into()).await.unwrap();
    let _serving = serve(&server, Routes::new(()).rpc(give_key));
    let request = GetKeyRequest {
        provider: "openai".into(),
        requester: "agent".into(),
        public_key: "none".into(),
        ..Default::default()
    };
    // Whoever listens to everything takes the question too: a server that comes later never sees it.
    let wait = Duration::from_secs(1);
    let reply = eventually(Duration::from_secs(60), "the key", || async {
        client.request_within(&request, wait).await
    })
    .await;
    assert_eq!((reply.provider.as_str(), reply.key.as_str()), ("openai", CANARY));
    let mut sealed = false;
    while !sealed {
        let message = everything.next().await.unwrap();
        assert!(!has(&message.payload, CANARY));
        sealed = has(&message.payload, "sealed:v1:new:");
    }
    let stranger = connect(&nats, "stranger", OTHER_OLD).await;
    let fault = stranger.request(&request).await.unwrap_err();
    assert!(fault.message.contains("\"new\", which is not in MUSTER_SEAL_KEYS"), "{fault}");
}

#[test]
fn keys_come_from_the_environment_and_are_never_shown() {
    let read = |keys: &'static str| {
        Settings::from_variables("agent", move |name| (name == "MUSTER_SEAL_KEYS").then_some(keys))
    };
    let shown = format!("{:?}", read(NEW).unwrap());
    assert!(shown.contains("[\"new\"]") && !shown.contains("Hx4d"), "{shown}");
    let error = read("new:Hx4d").unwrap_err().to_string();
    assert!(error.starts_with("MUSTER_SEAL_KEYS") && !error.contains("Hx4d"), "{error}");
}
