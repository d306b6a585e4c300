//! Acknowledgements that the broker confirms, over a network that loses some.

use std::collections::HashSet;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Bus, Consume, Delivery, Filter, Idempotency, Range, Routes, Settings};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{NatsServer, eventually};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::consuming::{consumer, everything_is_acknowledged, pending};
use crate::log::Log;
use crate::{command, connect, connect_freely, id, serve};

const PATIENCE: Duration = Duration::from_secs(60);
/// The subject of an acknowledgement, up to how often its message was delivered.
const ACKS: &str = "PUB $JS.ACK.EXECUTIONS.tool-tool-execution-requested.";

/// A way to the server on which acknowledgements are lost, and nothing else.
#[derive(Clone)]
pub(crate) struct Lossy {
    service: &'static str,
    acks: &'static str,
    loses: Arc<AtomicBool>,
    /// The lines of the lost ones.
    lost: Arc<Mutex<Vec<String>>>,
}

impl Default for Lossy {
    fn default() -> Self {
        Self::of("tool", ACKS)
    }
}

impl Lossy {
    pub(crate) fn of(service: &'static str, acks: &'static str) -> Self {
        Self { service, acks, loses: Arc::default(), lost: Arc::default() }
    }

    pub(crate) async fn bus(&self, nats: &NatsServer) -> Bus {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (lossy, port) = (self.clone(), nats.port());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, mut to_client) = client.into_split();
                let (mut from_server, to_server) = server.into_split();
                tokio::spawn(lossy.clone().pass(BufReader::new(from_client), to_server));
                tokio::spawn(async move {
                    drop(tokio::io::copy(&mut from_server, &mut to_client).await);
                });
            }
        });
        let settings = Settings {
            urls: vec![url],
            ack_wait: Duration::from_secs(1),
            drain_timeout: Duration::from_millis(100),
            ..nats.settings(self.service)
        };
        let bus = Bus::open(settings).await.unwrap();
        bus.ready().await;
        bus
    }

    /// Passes on what the client says, one operation after the other.
    async fn pass(
        self,
        mut from: BufReader<tokio::net::tcp::OwnedReadHalf>,
        mut to: tokio::net::tcp::OwnedWriteHalf,
    ) {
        let mut line = String::new();
        while from.read_line(&mut line).await.is_ok_and(|size| size > 0) {
            let mut body = Vec::new();
            if line.starts_with("PUB ") || line.starts_with("HPUB ") {
                let size: usize = line.trim_end().rsplit(' ').next().unwrap().parse().unwrap();
                body.resize(size + 2, 0);
                if from.read_exact(&mut body).await.is_err() {
                    return;
                }
            }
            let is_ack =
                line.starts_with(self.acks) && matches!(body.as_slice(), b"\r\n" | b"+ACK\r\n");
            if is_ack && self.loses.load(Ordering::SeqCst) {
                self.lost.lock().unwrap().push(line.clone());
            } else if to.write_all(&[line.as_bytes(), &body].concat()).await.is_err() {
                return;
            }
            line.clear();
        }
    }

    pub(crate) fn lose(&self, all: bool) {
        self.loses.store(all, Ordering::SeqCst);
    }

    /// Waits until acknowledgements of so many deliveries were lost.
    pub(crate) async fn has_lost_of(&self, deliveries: usize) {
        eventually(PATIENCE, "acknowledgements are lost", || async {
            let lost = self.lost.lock().unwrap().clone();
            let subjects = lost.iter().filter_map(|line| line.split(' ').nth(1));
            let count = subjects.collect::<HashSet<_>>().len();
            if count >= deliveries { Ok(()) } else { Err(lost) }
        })
        .await;
    }

    /// Waits until an acknowledgement of this delivery of a message was lost so often.
    pub(crate) async fn has_lost(&self, delivery: u32, times: usize) {
        eventually(PATIENCE, "acknowledgements are lost", || async {
            let lost = self.lost.lock().unwrap().clone();
            let of_it = format!("{}{delivery}.", self.acks);
            let count = lost.iter().filter(|line| line.starts_with(&of_it)).count();
            if count >= times { Ok(()) } else { Err(lost) }
        })
        .await;
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A handler whose effect nobody records.
fn routes(seen: &Seen, concurrency: usize) -> Routes<Seen> {
    Routes::new(seen.clone()).on_with(confirmed(concurrency), note)
}

fn confirmed(concurrency: usize) -> Consume {
    Consume {
        concurrency,
        idempotency: Idempotency::Handler("the test counts"),
        confirm_acks: true,
        ..Consume::default()
    }
}

fn note(
    seen: Seen,
    delivery: Delivery<ToolExecutionRequested>,
) -> impl Future<Output = Result<(), Fault>> {
    seen.lock().unwrap().push(delivery.idempotency_key.clone());
    std::future::ready(Ok(()))
}

async fn publish(nats: &NatsServer, keys: &[&str]) {
    let publisher = connect(nats, "orchestration").await;
    for key in keys {
        publisher.publish(&command(key), &id(key)).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_acknowledgement_is_told_again_before_the_next_message_has_its_place() {
    let nats = NatsServer::start().await;
    let lossy = Lossy::default();
    let bus = lossy.bus(&nats).await;
    let seen = Seen::default();
    lossy.lose(true);
    let _serving = serve(&bus, routes(&seen, 1));
    publish(&nats, &["a", "b"]).await;
    // Told again and again, for longer than the broker waits until it delivers a message again.
    lossy.has_lost(1, 5).await;
    assert_eq!(*seen.lock().unwrap(), ["a"]);
    assert_eq!(pending(&nats).await, 2);
    lossy.lose(false);
    everything_is_acknowledged(&nats).await;
    assert_eq!(*seen.lock().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn what_may_come_again_is_acknowledged_plainly_and_holds_up_nothing() {
    let nats = NatsServer::start().await;
    let lossy = Lossy::default();
    let bus = lossy.bus(&nats).await;
    let seen = Seen::default();
    let note = |seen, delivery: Delivery<ToolExecutionRequested>| {
        delivery.may_come_again();
        note(seen, delivery)
    };
    lossy.lose(true);
    let _serving = serve(&bus, Routes::new(seen.clone()).on_with(confirmed(1), note));
    publish(&nats, &["a", "b"]).await;
    eventually(PATIENCE, "each has had the only place, and comes again", || async {
        let seen = seen.lock().unwrap().clone();
        let times = |key| seen.iter().filter(|seen| *seen == key).count();
        if times("a") > 1 && times("b") > 1 { Ok(()) } else { Err(seen) }
    })
    .await;
    lossy.lose(false);
    everything_is_acknowledged(&nats).await;
}

#[tokio::test]
async fn a_message_that_comes_again_while_its_acknowledgement_is_lost_is_not_handled_again() {
    let nats = NatsServer::start().await;
    let lossy = Lossy::default();
    let bus = lossy.bus(&nats).await;
    let seen = Seen::default();
    lossy.lose(true);
    let _serving = serve(&bus, routes(&seen, 8));
    publish(&nats, &["a", "b"]).await;
    // The second and the third delivery are acknowledged as well.
    lossy.has_lost(2, 1).await;
    lossy.has_lost(3, 1).await;
    lossy.lose(false);
    everything_is_acknowledged(&nats).await;
    seen.lock().unwrap().sort_unstable();
    assert_eq!(*seen.lock().unwrap(), ["a", "b"]);
}

#[tokio::test]
async fn an_acknowledgement_that_cannot_be_confirmed_is_counted_and_named_in_the_log() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (figures, (log, _logging)) = (recorder.handle(), Log::capture());
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let lossy = Lossy::default();
    let bus = lossy.bus(&nats).await;
    let seen = Seen::default();
    lossy.lose(true);
    let (stop, served) = serve(&bus, routes(&seen, 8));
    publish(&nats, &["a"]).await;
    lossy.has_lost(1, 1).await;
    drop(stop);
    // The service ends all the same, when its time is up.
    served.await.unwrap().unwrap();
    let counted = "muster_bus_unconfirmed_acks_total{service=\"tool\",stream=\"EXECUTIONS\",consumer=\"tool-tool-execution-requested\"} 1";
    assert!(figures.render().contains(counted), "{}", figures.render());
    let lines = log.lines("acknowledgement is not confirmed, the message may be delivered again");
    assert!(lines[0].contains("WARN") && lines[0].contains("sequence"), "{lines:?}");
}

#[tokio::test]
async fn a_message_that_comes_for_the_last_time_while_its_handler_runs_is_no_dead_letter() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let operator = connect_freely(&nats, "operator").await;
    let (seen, open) = (Seen::default(), CancellationToken::new());
    let settings = Consume {
        concurrency: 8,
        max_deliver: 2,
        idempotency: Idempotency::Handler("the test counts"),
        confirm_acks: true,
        ..Consume::default()
    };
    let slowly = |(seen, open): (Seen, CancellationToken),
                  delivery: Delivery<ToolExecutionRequested>| async move {
        note(seen, delivery).await?;
        open.cancelled().await;
        Ok::<(), Fault>(())
    };
    let _serving = serve(&bus, Routes::new((seen.clone(), open.clone())).on_with(settings, slowly));
    publish(&nats, &["a"]).await;
    let raw = crate::operator(&nats).await;
    for delivered in 1..=3 {
        eventually(PATIENCE, "it is delivered", || async {
            let info = consumer(&nats).await;
            let seen = seen.lock().unwrap().len();
            if seen == 1 && info.delivered.consumer_sequence >= delivered {
                Ok(())
            } else {
                Err(info.delivered.consumer_sequence)
            }
        })
        .await;
        if delivered < 3 {
            // As if all signs of life had been lost.
            let reply = format!("{}{delivered}.1.{delivered}.0.0", ACKS.trim_start_matches("PUB "));
            raw.publish(reply, "-NAK".into()).await.unwrap();
        }
    }
    open.cancel();
    everything_is_acknowledged(&nats).await;
    assert_eq!(*seen.lock().unwrap(), ["a"]);
    let letters = operator.dead_letters().find(&Filter::default(), Range::ALL, 10).await.unwrap();
    assert_eq!(letters.letters.len(), 0);
    // None was sent back: that would have been its end.
    assert!(!figures.render().contains("outcome=\"elsewhere\"} 1"), "{}", figures.render());
    assert!(!figures.render().contains("outcome=\"elsewhere\"} 2"), "{}", figures.render());
}
