//! What happens to consumers and readers when the server, the network or somebody with a delete key gets in the way; and how a service stops and starts.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::jetstream;
use muster_bus::{Bus, Delivery, MessageId, Routes, Settings};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{FaultProxy, NatsServer, eventually};
use tokio_util::sync::CancellationToken;

use crate::consuming::pending;
use crate::{command, connect, id, operator, serve};

const CONSUMER: &str = "tool-tool-execution-requested";

type Seen = Arc<Mutex<Vec<String>>>;

async fn note(seen: Seen, delivery: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    seen.lock().unwrap().push(delivery.idempotency_key.clone());
    Ok(())
}

async fn sees(seen: &Seen, count: usize) {
    eventually(Duration::from_secs(60), "everything is handled", || async {
        let seen = seen.lock().unwrap().len();
        if seen >= count { Ok(()) } else { Err(seen) }
    })
    .await;
}

async fn publish(bus: &Bus, key: &str) {
    bus.publish(&command(key), &id(key)).await.unwrap();
}

#[tokio::test]
async fn a_deleted_consumer_is_there_again_and_nothing_is_handled_twice() {
    let nats = NatsServer::start().await;
    let (publisher, bus) = (connect(&nats, "orchestration").await, connect(&nats, "tool").await);
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    publish(&publisher, "before").await;
    sees(&seen, 1).await;
    let raw = jetstream::new(operator(&nats).await);
    raw.get_stream("EXECUTIONS").await.unwrap().delete_consumer(CONSUMER).await.unwrap();
    publish(&publisher, "after").await;
    sees(&seen, 2).await;
    eventually(Duration::from_secs(60), "nothing waits", || async { pending(&nats).await == 0 })
        .await;
    assert_eq!(*seen.lock().unwrap(), ["before", "after"]);
}

#[tokio::test]
async fn a_paused_server_stops_nothing_for_good_and_nothing_is_handled_twice() {
    let nats = NatsServer::start().await;
    let (publisher, bus) = (connect(&nats, "orchestration").await, connect(&nats, "tool").await);
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    for n in 0..50 {
        publish(&publisher, &n.to_string()).await;
    }
    nats.pause();
    let paused = tokio::spawn({
        let publisher = publisher.clone();
        async move { publisher.publish(&command("paused"), &id("paused")).await }
    });
    // Longer than a message may go without a sign of life: what was in flight is delivered again.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    nats.resume();
    paused.await.unwrap().unwrap();
    sees(&seen, 51).await;
    eventually(Duration::from_secs(60), "nothing waits", || async { pending(&nats).await == 0 })
        .await;
    assert_eq!(seen.lock().unwrap().len(), 51);
}

#[tokio::test]
async fn a_cut_connection_is_made_again_and_nothing_is_lost_or_handled_twice() {
    let nats = NatsServer::start().await;
    let proxy = FaultProxy::start(nats.url()).await;
    let publisher = connect(&nats, "orchestration").await;
    let settings = nats.settings("tool");
    let settings = Settings { urls: vec![proxy.url(nats.url())], ..settings };
    let settings = Settings { ack_wait: Duration::from_secs(1), ..settings };
    let bus = Bus::open(settings).await.unwrap();
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    for round in 0..4 {
        for n in 0..50 {
            publish(&publisher, &format!("{round}-{n}")).await;
        }
        if round < 3 {
            proxy.cut();
            publish(&publisher, &format!("cut-{round}")).await;
            proxy.heal();
        }
    }
    sees(&seen, 203).await;
    eventually(Duration::from_secs(60), "nothing waits", || async { pending(&nats).await == 0 })
        .await;
    assert_eq!(seen.lock().unwrap().len(), 203);
}

#[tokio::test]
async fn a_server_that_is_killed_at_work_makes_no_effect_twice() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "orchestration").await;
    let (one, other) = (connect(&nats, "tool").await, connect(&nats, "tool").await);
    let seen = Seen::default();
    let _one = serve(&one, Routes::new(seen.clone()).on(note));
    let _other = serve(&other, Routes::new(seen.clone()).on(note));
    for round in 0..3 {
        for n in 0..100 {
            publish(&publisher, &format!("{round}-{n}")).await;
        }
        nats.kill();
        nats.restart().await;
    }
    sees(&seen, 300).await;
    eventually(Duration::from_secs(60), "nothing waits", || async { pending(&nats).await == 0 })
        .await;
    assert_eq!(seen.lock().unwrap().len(), 300);
}

/// Handlers that wait for leave to end.
#[derive(Clone, Default)]
struct Gate {
    began: Arc<AtomicU32>,
    ended: Arc<AtomicU32>,
    open: CancellationToken,
}

async fn wait(gate: Gate, _: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    gate.began.fetch_add(1, Ordering::SeqCst);
    gate.open.cancelled().await;
    gate.ended.fetch_add(1, Ordering::SeqCst);
    Ok(())
}

async fn begins(gate: &Gate) {
    eventually(Duration::from_secs(60), "the handler begins", || async {
        gate.began.load(Ordering::SeqCst) > 0
    })
    .await;
}

#[tokio::test]
async fn a_stop_lets_handlers_finish() {
    let nats = NatsServer::start().await;
    let (publisher, bus) = (connect(&nats, "orchestration").await, connect(&nats, "tool").await);
    let gate = Gate::default();
    let (guard, serving) = serve(&bus, Routes::new(gate.clone()).on(wait));
    publish(&publisher, "k").await;
    begins(&gate).await;
    drop(guard);
    assert!(!serving.is_finished());
    gate.open.cancel();
    serving.await.unwrap().unwrap();
    assert_eq!(gate.ended.load(Ordering::SeqCst), 1);
    eventually(Duration::from_secs(60), "it is acknowledged", || async {
        pending(&nats).await == 0
    })
    .await;
}

#[tokio::test]
async fn what_a_stop_cannot_finish_in_time_goes_to_another_replica_at_once() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "orchestration").await;
    // So long that no other reason than the stop can bring the message to the second replica in time.
    let ack_wait = Duration::from_secs(3600);
    let drain_timeout = Duration::from_millis(300);
    let settings = Settings { ack_wait, drain_timeout, ..nats.settings("tool") };
    let bus = Bus::open(settings.clone()).await.unwrap();
    let gate = Gate::default();
    let (guard, serving) = serve(&bus, Routes::new(gate.clone()).on(wait));
    publish(&publisher, "k").await;
    begins(&gate).await;
    drop(guard);
    serving.await.unwrap().unwrap();
    assert_eq!(gate.ended.load(Ordering::SeqCst), 0);
    let seen = Seen::default();
    let other = Bus::open(settings).await.unwrap();
    let _serving = serve(&other, Routes::new(seen.clone()).on(note));
    sees(&seen, 1).await;
}

#[tokio::test]
async fn a_service_may_start_before_its_server_and_its_publishers() {
    let nats = NatsServer::start().await;
    nats.kill();
    let bus = Bus::open(nats.settings("tool")).await.unwrap();
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    nats.restart().await;
    let publisher = connect(&nats, "orchestration").await;
    publish(&publisher, "first").await;
    sees(&seen, 1).await;
}

#[tokio::test]
async fn what_was_published_before_a_service_ever_started_is_handled() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "orchestration").await;
    for n in 0..3 {
        publisher.publish(&command(&n.to_string()), &MessageId::random()).await.unwrap();
    }
    let bus = connect(&nats, "tool").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    sees(&seen, 3).await;
}
