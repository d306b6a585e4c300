//! Durable messages are handled once, tried again, or kept with a reason.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{Consume, Delivery, MessageId, Routes};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};

use crate::{command, connect, id, operator, serve};

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
async fn a_message_has_its_headers_one_by_one_and_no_others() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "orchestration").await;
    let raw = operator(&nats).await;
    let mut sent = raw.subscribe("tool.execution.requested").await.unwrap();
    // A round trip, which a flush is not: now the server knows the subscription.
    raw.request("$JS.API.INFO", "".into()).await.unwrap();
    let broken = MessageId::from("a\r\nNats-Rollup: all\r\nx".to_owned());
    for message_id in [id("a"), broken] {
        bus.publish(&command("k"), &message_id).await.unwrap();
        let message = sent.next().await.unwrap();
        let headers = message.headers.unwrap();
        let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_string()).collect();
        names.sort_unstable_by_key(|name| name.to_lowercase());
        let known = [
            "ce-id",
            "ce-source",
            "ce-specversion",
            "ce-time",
            "ce-type",
            "Content-Type",
            "Muster-Execution",
            "Muster-Schema",
            "Nats-Msg-Id",
        ];
        assert_eq!(names, known);
        let value = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(value("ce-specversion"), "1.0");
        assert_eq!(value("ce-id"), value("Nats-Msg-Id"));
        assert_eq!(value("ce-source"), "/muster/orchestration");
        assert_eq!(value("Muster-Schema"), "muster.tool.v1.ToolExecutionRequested/v1");
        assert_eq!(value("Muster-Execution"), "e1");
    }
}

#[tokio::test]
async fn every_message_is_handled_once_by_all_replicas_together() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
    let other = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _first = serve(&bus, Routes::new(seen.clone()).on(note));
    let _second = serve(&other, Routes::new(seen.clone()).on(note));
    for n in 0..200 {
        publisher.publish(&command(&n.to_string()), &MessageId::random()).await.unwrap();
    }
    eventually(Duration::from_secs(60), "200 messages are handled", || async {
        seen.lock().unwrap().len() >= 200
    })
    .await;
    let mut keys = seen.lock().unwrap().clone();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!((keys.len(), seen.lock().unwrap().len()), (200, 200));
}

/// Stores messages of one event that the broker takes for different ones.
pub(crate) async fn store_duplicates(nats: &NatsServer, event: &str, count: u32) {
    let raw = operator(nats).await;
    let body = serde_json::to_vec(&command(event)).unwrap();
    for n in 0..count {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("ce-id", event);
        headers.insert("Nats-Msg-Id", format!("{event}-{n}-{}", MessageId::random().as_str()));
        let body = body.clone().into();
        raw.publish_with_headers("tool.execution.requested", headers, body).await.unwrap();
    }
    raw.flush().await.unwrap();
}

pub(crate) async fn everything_is_acknowledged(nats: &NatsServer) {
    eventually(Duration::from_secs(60), "nothing waits", || async { pending(nats).await == 0 })
        .await;
}

#[tokio::test]
async fn a_hundred_duplicates_in_two_replicas_have_one_effect() {
    let nats = NatsServer::start().await;
    let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
    let effects = Arc::new(AtomicU32::new(0));
    let slowly = |effects: Arc<AtomicU32>, _: Delivery<ToolExecutionRequested>| async move {
        effects.fetch_add(1, Ordering::SeqCst);
        // Long enough for the duplicates to meet it while it runs, in both replicas.
        tokio::time::sleep(Duration::from_millis(300)).await;
        Ok::<(), Fault>(())
    };
    let _one = serve(&one, Routes::new(effects.clone()).on(slowly));
    let _other = serve(&other, Routes::new(effects.clone()).on(slowly));
    store_duplicates(&nats, "twice", 100).await;
    eventually(Duration::from_secs(60), "an effect", || async {
        effects.load(Ordering::SeqCst) > 0
    })
    .await;
    everything_is_acknowledged(&nats).await;
    store_duplicates(&nats, "twice", 10).await;
    everything_is_acknowledged(&nats).await;
    assert_eq!(effects.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_a_process_has_handled_is_known_when_it_is_gone() {
    let nats = NatsServer::start().await;
    let seen = Seen::default();
    let first = connect(&nats, "tool").await;
    let (guard, serving) = serve(&first, Routes::new(seen.clone()).on(note));
    for event in ["a", "b", "c"] {
        store_duplicates(&nats, event, 1).await;
    }
    eventually(Duration::from_secs(60), "all are handled", || async {
        seen.lock().unwrap().len() == 3
    })
    .await;
    everything_is_acknowledged(&nats).await;
    drop((guard, first));
    serving.await.unwrap().unwrap();
    let second = connect(&nats, "tool").await;
    let _serving = serve(&second, Routes::new(seen.clone()).on(note));
    for event in ["c", "a", "b", "d"] {
        store_duplicates(&nats, event, 1).await;
    }
    eventually(Duration::from_secs(60), "the new one is handled", || async {
        seen.lock().unwrap().contains(&"d".to_owned())
    })
    .await;
    everything_is_acknowledged(&nats).await;
    assert_eq!(seen.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn a_message_that_failed_is_tried_again_by_any_replica() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "orchestration").await;
    let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
    let tries = Arc::new(AtomicU32::new(0));
    let _one = serve(&one, Routes::new(tries.clone()).on(fail_at_first));
    let _other = serve(&other, Routes::new(tries.clone()).on(fail_at_first));
    publisher.publish(&command("later"), &id("later")).await.unwrap();
    eventually(Duration::from_secs(60), "a second try", || async {
        tries.load(Ordering::SeqCst) == 2
    })
    .await;
    everything_is_acknowledged(&nats).await;
    assert_eq!(tries.load(Ordering::SeqCst), 2);
}

pub(crate) async fn pending(nats: &NatsServer) -> u64 {
    let info = consumer(nats).await;
    info.num_pending + info.num_ack_pending as u64
}

pub(crate) async fn consumer(nats: &NatsServer) -> async_nats::jetstream::consumer::Info {
    let jetstream = async_nats::jetstream::new(operator(nats).await);
    let consumer: async_nats::jetstream::consumer::PullConsumer = jetstream
        .get_consumer_from_stream("tool-tool-execution-requested", "EXECUTIONS")
        .await
        .unwrap();
    consumer.get_info().await.unwrap()
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
        let publisher = connect(&nats, "orchestration").await;
        let letters = connect(&nats, "operator").await.dead_letters();
        let tries = Arc::new(AtomicU32::new(0));
        let _serving = serve(&bus, Routes::new(tries.clone()).on(fail_at_first));
        publisher.publish(&command(key), &id(key)).await.unwrap();
        eventually(Duration::from_secs(60), "a second try", || async {
            tries.load(Ordering::SeqCst) == 2
        })
        .await;
        assert!(letters.list(10).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_hopeless_message_is_a_dead_letter_at_once_with_body_headers_and_reason() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
    let letters = connect(&nats, "operator").await.dead_letters();
    let tries = Arc::new(AtomicU32::new(0));
    let _serving = serve(&bus, Routes::new(tries.clone()).on(fail_at_first));
    publisher.publish(&command("hopeless"), &id("h")).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(60), "a dead letter", || async {
        letters.list(10).await.unwrap().pop()
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
    let publisher = connect(&nats, "orchestration").await;
    let letters = connect(&nats, "operator").await.dead_letters();
    let routes = Routes::new(()).on_with(
        Consume { max_deliver: 2, ..Default::default() },
        |(), _: Delivery<ToolExecutionRequested>| async {
            Err(Fault::new(Code::Unavailable, "never"))
        },
    );
    let _serving = serve(&bus, routes);
    publisher.publish(&command("k"), &id("k")).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(60), "a dead letter", || async {
        letters.list(10).await.unwrap().pop()
    })
    .await;
    assert_eq!(letter.deliveries, 2);
}

#[tokio::test]
async fn a_message_that_is_put_off_is_not_tried_in_vain() {
    const PUT_OFF: u32 = 3;
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
    let letters = connect(&nats, "operator").await.dead_letters();
    let settings = Consume { max_deliver: 2, postpone: 10, ..Default::default() };
    let routes = Routes::new(()).on_with(
        settings,
        |(), came: Delivery<ToolExecutionRequested>| async move {
            let code = if came.attempt <= PUT_OFF { Code::Exhausted } else { Code::Unavailable };
            Err::<(), _>(Fault::new(code, "not now").with_retry_after_ms(10))
        },
    );
    let _serving = serve(&bus, routes);
    publisher.publish(&command("k"), &id("k")).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(60), "a dead letter", || async {
        letters.list(10).await.unwrap().pop()
    })
    .await;
    assert_eq!((letter.code.as_str(), letter.deliveries), ("UNAVAILABLE", PUT_OFF + 2));
}

#[tokio::test]
async fn an_undecodable_message_is_a_dead_letter_with_what_is_wrong() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let letters = connect(&nats, "operator").await.dead_letters();
    let _serving = serve(&bus, Routes::new(Seen::default()).on(note));
    let raw = operator(&nats).await;
    raw.publish("tool.execution.requested", "{\"tool\": 7}".into()).await.unwrap();
    let (_, letter) = eventually(Duration::from_secs(60), "a dead letter", || async {
        letters.list(10).await.unwrap().pop()
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
    let publisher = connect(&nats, "orchestration").await;
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
    publisher.publish(&command("k"), &id("k")).await.unwrap();
    eventually(Duration::from_secs(60), "the work is done", || async {
        done.load(Ordering::SeqCst) == 1
    })
    .await;
    assert_eq!(tries.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_message_of_a_crashed_worker_is_handled_by_another() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
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
    publisher.publish(&command("k"), &id("k")).await.unwrap();
    eventually(Duration::from_secs(60), "the first worker has it", || async {
        began.load(Ordering::SeqCst) == 1
    })
    .await;
    task.abort();
    let seen = Seen::default();
    let other = connect(&nats, "tool").await;
    let _serving = serve(&other, Routes::new(seen.clone()).on(note));
    eventually(Duration::from_secs(60), "the second worker handles it", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
}

#[tokio::test]
async fn consumers_go_on_after_a_restart_of_the_server() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    publisher.publish(&command("before"), &id("before")).await.unwrap();
    eventually(Duration::from_secs(60), "the first is handled", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
    nats.kill();
    nats.restart().await;
    publisher.publish(&command("after"), &id("after")).await.unwrap();
    eventually(Duration::from_secs(60), "the second is handled", || async {
        seen.lock().unwrap().len() == 2
    })
    .await;
}

#[tokio::test]
async fn a_message_after_a_long_silence_is_handled_at_once() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let publisher = connect(&nats, "orchestration").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    publisher.publish(&command("first"), &id("first")).await.unwrap();
    eventually(Duration::from_secs(60), "the first is handled", || async {
        seen.lock().unwrap().len() == 1
    })
    .await;
    // Longer than a pull's first signs of life.
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Somebody waits at the server: a message need not wait for the next pull.
    assert!(consumer(&nats).await.num_waiting > 0);
    publisher.publish(&command("second"), &id("second")).await.unwrap();
    eventually(Duration::from_secs(60), "the second is handled", || async {
        seen.lock().unwrap().len() == 2
    })
    .await;
}
