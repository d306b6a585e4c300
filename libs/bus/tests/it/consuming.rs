//! Durable messages are handled once, tried again, or kept with a reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_bus::{Consume, Delivery, MessageId, Routes};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};

use crate::{command, connect, id, serve};

type Seen = Arc<Mutex<Vec<String>>>;

async fn note(seen: Seen, delivery: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    seen.lock().unwrap().push(delivery.idempotency_key.clone());
    Ok(())
}

#[tokio::test]
async fn a_message_published_twice_is_stored_once() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let first = bus.publish(&command("k"), &id("a")).await.unwrap();
    let second = bus.publish(&command("k"), &id("a")).await.unwrap();
    assert!(!first.duplicate && second.duplicate);
    assert_eq!(first.sequence, second.sequence);
}

#[tokio::test]
async fn every_message_is_handled_once_by_all_replicas_together() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let other = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _first = serve(&bus, Routes::new(seen.clone()).on(note));
    let _second = serve(&other, Routes::new(seen.clone()).on(note));
    for n in 0..200 {
        bus.publish(&command(&n.to_string()), &MessageId::random()).await.unwrap();
    }
    eventually(Duration::from_secs(20), "200 messages are handled", || async {
        seen.lock().unwrap().len() >= 200
    })
    .await;
    let mut keys = seen.lock().unwrap().clone();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), seen.lock().unwrap().len()), (200, 200));
}

#[tokio::test]
async fn an_event_id_is_handled_once_beyond_the_brokers_window() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    let raw = async_nats::connect(nats.url()).await.unwrap();
    let body = serde_json::to_vec(&command("twice")).unwrap();
    for _ in 0..20 {
        // No Nats-Msg-Id: the stream stores each of them.
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", "one-id");
        raw.publish_with_headers("tool.execution.requested", headers, body.clone().into())
            .await
            .unwrap();
    }
    bus.publish(&command("last"), &id("last")).await.unwrap();
    eventually(Duration::from_secs(20), "the last message is handled", || async {
        seen.lock().unwrap().contains(&"last".to_owned())
    })
    .await;
    eventually(Duration::from_secs(20), "nothing waits", || async { pending(&nats).await == 0 })
        .await;
    assert_eq!(seen.lock().unwrap().iter().filter(|key| *key == "twice").count(), 1);
}

async fn pending(nats: &NatsServer) -> u64 {
    let jetstream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let consumer: async_nats::jetstream::consumer::PullConsumer = jetstream
        .get_consumer_from_stream("tool-tool-execution-requested", "EXECUTIONS")
        .await
        .unwrap();
    let info = consumer.get_info().await.unwrap();
    info.num_pending + info.num_ack_pending as u64
}

async fn fail_at_first(
    tries: Arc<AtomicU32>,
    delivery: Delivery<ToolExecutionRequested>,
) -> Result<(), Fault> {
    match (delivery.idempotency_key.as_str(), tries.fetch_add(1, Ordering::SeqCst)) {
        ("hopeless", _) => Err(Fault::new(Code::Invalid, "tool \"hopeless\" is not a tool")),
        ("panic", 0) => panic!("as a bug would"),
        (_, 0) => Err(Fault::new(Code::Unavailable, "not yet")),
        _ => Ok(()),
    }
}

#[tokio::test]
async fn a_failed_or_panicked_message_is_tried_again() {
    for key in ["later", "panic"] {
        let nats = NatsServer::start().await;
        let bus = connect(&nats, "tool").await;
        let tries = Arc::new(AtomicU32::new(0));
        let _serving = serve(&bus, Routes::new(tries.clone()).on(fail_at_first));
        bus.publish(&command(key), &id(key)).await.unwrap();
        eventually(Duration::from_secs(10), "a second try", || async {
            tries.load(Ordering::SeqCst) == 2
        })
        .await;
        assert!(bus.dead_letters().list(10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_hopeless_message_is_a_dead_letter_at_once_with_body_headers_and_reason() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let tries = Arc::new(AtomicU32::new(0));
    let _serving = serve(&bus, Routes::new(tries.clone()).on(fail_at_first));
    bus.publish(&command("hopeless"), &id("h")).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(10), "a dead letter", || async {
        bus.dead_letters().list(10).await.unwrap().pop()
    })
    .await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
    assert_eq!(
        (letter.code.as_str(), letter.reason.as_str()),
        ("INVALID", "tool \"hopeless\" is not a tool")
    );
    assert_eq!(
        serde_json::from_slice::<ToolExecutionRequested>(&letter.body).unwrap(),
        command("hopeless")
    );
    assert_eq!(letter.headers["ce-id"], id("h").as_str());
    assert_eq!(letter.deliveries, 1);
}

#[tokio::test]
async fn the_last_try_of_a_message_makes_it_a_dead_letter() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let routes = Routes::new(()).on_with(
        Consume { max_deliver: 2, ..Default::default() },
        |(), _: Delivery<ToolExecutionRequested>| async {
            Err(Fault::new(Code::Unavailable, "never"))
        },
    );
    let _serving = serve(&bus, routes);
    bus.publish(&command("k"), &id("k")).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(10), "a dead letter", || async {
        bus.dead_letters().list(10).await.unwrap().pop()
    })
    .await;
    assert_eq!(letter.deliveries, 2);
}

#[tokio::test]
async fn an_undecodable_message_is_a_dead_letter_with_what_is_wrong() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let _serving = serve(&bus, Routes::new(Seen::default()).on(note));
    let raw = async_nats::connect(nats.url()).await.unwrap();
    raw.publish("tool.execution.requested", "{\"tool\": 7}".into()).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(10), "a dead letter", || async {
        bus.dead_letters().list(10).await.unwrap().pop()
    })
    .await;
    assert!(
        letter.reason.contains("not a muster.tool.v1.ToolExecutionRequested"),
        "{}",
        letter.reason
    );
}

#[tokio::test]
async fn a_handler_that_works_longer_than_the_ack_wait_keeps_its_message() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let tries = Arc::new(AtomicU32::new(0));
    let done = Arc::new(AtomicU32::new(0));
    let _serving = serve(
        &bus,
        Routes::new((tries.clone(), done.clone())).on(
            |(tries, done): (Arc<AtomicU32>, Arc<AtomicU32>),
             _: Delivery<ToolExecutionRequested>| async move {
                tries.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(2500)).await;
                done.fetch_add(1, Ordering::SeqCst);
                Ok::<(), Fault>(())
            },
        ),
    );
    bus.publish(&command("k"), &id("k")).await.unwrap();
    eventually(Duration::from_secs(10), "the work is done", || async {
        done.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_of_a_crashed_worker_is_handled_by_another() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let began = Arc::new(AtomicU32::new(0));
    let (_guard, task) = serve(
        &bus,
        Routes::new(began.clone()).on(
            |began: Arc<AtomicU32>, _: Delivery<ToolExecutionRequested>| async move {
                began.fetch_add(1, Ordering::SeqCst);
                std::future::pending::<Result<(), Fault>>().await
            },
        ),
    );
    bus.publish(&command("k"), &id("k")).await.unwrap();
    eventually(Duration::from_secs(10), "the first worker has it", || async {
        began.load(Ordering::SeqCst) == 1
    })
    .await;
    task.abort();
    let seen = Seen::default();
    let other = connect(&nats, "tool").await;
    let _serving = serve(&other, Routes::new(seen.clone()).on(note));
    eventually(Duration::from_secs(10), "the second worker handles it", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn consumers_go_on_after_a_restart_of_the_server() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    bus.publish(&command("before"), &id("before")).await.unwrap();
    eventually(Duration::from_secs(10), "the first is handled", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
    nats.kill();
    nats.restart().await;
    bus.publish(&command("after"), &id("after")).await.unwrap();
    eventually(Duration::from_secs(15), "the second is handled", || async {
        seen.lock().unwrap().len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_message_after_a_long_silence_is_handled_at_once() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    bus.publish(&command("first"), &id("first")).await.unwrap();
    eventually(Duration::from_secs(5), "the first is handled", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
    // Longer than a pull's first signs of life.
    tokio::time::sleep(Duration::from_secs(6)).await;
    bus.publish(&command("second"), &id("second")).await.unwrap();
    eventually(Duration::from_secs(2), "the second is handled", || async {
        seen.lock().unwrap().len() == 2
    })
    .await;
}
