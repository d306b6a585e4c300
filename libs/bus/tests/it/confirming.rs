//! Acknowledgements that the broker confirms, over a network that loses some.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Bus, Consume, Delivery, Idempotency, Routes, Settings};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{NatsServer, eventually};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::consuming::{everything_is_acknowledged, pending};
use crate::log::Log;
use crate::{command, connect, id, serve};

const PATIENCE: Duration = Duration::from_secs(60);
/// The subject of an acknowledgement, up to how often its message was delivered.
const ACKS: &str = "PUB $JS.ACK.EXECUTIONS.tool-tool-execution-requested.";

/// A way to the server on which acknowledgements are lost, and nothing else.
#[derive(Clone, Default)]
struct Lossy {
    loses: Arc<AtomicBool>,
    /// The lines of the lost ones.
    lost: Arc<Mutex<Vec<String>>>,
}

impl Lossy {
    async fn bus(&self, nats: &NatsServer) -> Bus {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("nats://{}", listener.local_addr().unwrap());
        let (lossy, port) = (self.clone(), nats.port());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
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
            ..nats.settings("tool")
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
            let is_ack = line.starts_with(ACKS) && matches!(body.as_slice(), b"\r\n" | b"+ACK\r\n");
            if is_ack && self.loses.load(Ordering::SeqCst) {
                self.lost.lock().unwrap().push(line.clone());
            } else if to.write_all(&[line.as_bytes(), &body].concat()).await.is_err() {
                return;
            }
            line.clear();
        }
    }

    fn lose(&self, all: bool) {
        self.loses.store(all, Ordering::SeqCst);
    }

    /// Waits until an acknowledgement of this delivery of a message was lost so often.
    async fn has_lost(&self, delivery: u32, times: usize) {
        eventually(PATIENCE, "acknowledgements are lost", || async {
            let lost = self.lost.lock().unwrap().clone();
            let of_it = format!("{ACKS}{delivery}.");
            let count = lost.iter().filter(|line| line.starts_with(&of_it)).count();
            if count >= times { Ok(()) } else { Err(lost) }
        })
        .await;
    }
}

type Seen = Arc<Mutex<Vec<String>>>;

/// A handler whose effect nobody records.
fn routes(seen: &Seen, concurrency: usize) -> Routes<Seen> {
    let settings = Consume {
        concurrency,
        idempotency: Idempotency::Handler("the test counts"),
        confirm_acks: true,
        ..Consume::default()
    };
    Routes::new(seen.clone()).on_with(settings, note)
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
