//! A stream in memory begins anew when its server does: what was in hand belongs to no message of the new one.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_bus::{Bus, Consume, Delivery, Idempotency, Routes};
use muster_contracts::agent::v1::AgentTaskCompleted;
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};
use tokio_util::sync::CancellationToken;

use crate::confirming::Lossy;
use crate::{connect, id, serve};

const PATIENCE: Duration = Duration::from_secs(60);
const ACKS: &str = "PUB $JS.ACK.AGENTS.agent-agent-task-completed.";

fn consume(confirm_acks: bool) -> Consume {
    Consume {
        concurrency: 2,
        idempotency: Idempotency::Handler("the test counts"),
        confirm_acks,
        ..Consume::default()
    }
}

async fn publish(bus: &Bus, task: &str) {
    let done = AgentTaskCompleted {
        agent_id: "a1".into(),
        task_id: task.into(),
        ..AgentTaskCompleted::default()
    };
    // The stream is created again a moment after its server is there.
    let id = id(task);
    eventually(PATIENCE, "it is published", || bus.publish(&done, &id)).await;
}

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn note(&self, task: &str) {
        self.0.lock().unwrap().push(task.to_owned());
    }

    fn count(&self, task: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|seen| *seen == task).count()
    }

    async fn until(&self, task: &str, count: usize) {
        eventually(PATIENCE, "it is handled", || async {
            if self.count(task) >= count { Ok(()) } else { Err(self.0.lock().unwrap().clone()) }
        })
        .await;
    }
}

async fn note(seen: Seen, done: Delivery<AgentTaskCompleted>) -> Result<(), Fault> {
    seen.note(&done.task_id);
    Ok(())
}

#[tokio::test]
async fn a_message_of_a_new_stream_is_not_taken_for_one_that_has_ended() {
    let nats = NatsServer::start().await;
    let publisher = connect(&nats, "agent").await;
    let lossy = Lossy::of("agent", ACKS);
    let bus = lossy.bus(&nats).await;
    let seen = Seen::default();
    lossy.lose(true);
    let _serving = serve(&bus, Routes::new(seen.clone()).on_with(consume(true), note));
    publish(&publisher, "before").await;
    lossy.has_lost(1, 1).await;
    nats.restart().await;
    // The first message of the stream, as the other was.
    publish(&publisher, "after").await;
    lossy.has_lost_of(2).await;
    lossy.lose(false);
    seen.until("after", 1).await;
    // Whatever is told now, what comes next is handled as well.
    publish(&publisher, "next").await;
    seen.until("next", 1).await;
    assert_eq!(seen.count("before"), 1);
}

/// Handlers that wait until they may go on.
#[derive(Clone, Default)]
struct Gates {
    seen: Seen,
    tries: Arc<AtomicU32>,
    before: CancellationToken,
    after: CancellationToken,
}

impl Gates {
    async fn pass(self, done: Delivery<AgentTaskCompleted>) -> Result<(), Fault> {
        self.seen.note(&done.task_id);
        match done.task_id.as_str() {
            "before" => self.before.cancelled().await,
            "after" if self.tries.fetch_add(1, Ordering::SeqCst) == 0 => {
                self.after.cancelled().await;
                return Err(Fault::new(Code::Unavailable, "not at the first try"));
            }
            _ => {}
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_end_of_a_message_of_the_old_stream_ends_none_of_the_new_one() {
    for confirm_acks in [false, true] {
        let nats = NatsServer::start().await;
        let bus = connect(&nats, "agent").await;
        let gates = Gates::default();
        let routes = Routes::new(gates.clone()).on_with(consume(confirm_acks), Gates::pass);
        let _serving = serve(&bus, routes);
        publish(&bus, "before").await;
        gates.seen.until("before", 1).await;
        nats.restart().await;
        publish(&bus, "after").await;
        gates.seen.until("after", 1).await;
        gates.before.cancel();
        // It needs the place that the first one has left.
        publish(&bus, "next").await;
        gates.seen.until("next", 1).await;
        gates.after.cancel();
        gates.seen.until("after", 2).await;
    }
}

#[tokio::test]
async fn messages_without_an_id_are_told_apart_by_their_stream_too() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "agent").await;
    let seen = Seen::default();
    // The bus records what is handled, in a bucket that outlives the server.
    let _serving = serve(&bus, Routes::new(seen.clone()).on(note));
    for task in ["before", "after"] {
        let body = format!(r#"{{"agent_id": "a1", "task_id": "{task}"}}"#);
        eventually(PATIENCE, "the stream has it", || async {
            let raw = crate::operator(&nats).await;
            let stream = async_nats::jetstream::new(raw);
            let sent = stream.publish("agent.a1.task.completed", body.clone().into()).await;
            let acknowledged = async {
                sent.map_err(|error| error.to_string())?.await.map_err(|error| error.to_string())
            };
            acknowledged.await
        })
        .await;
        seen.until(task, 1).await;
        nats.restart().await;
    }
}
