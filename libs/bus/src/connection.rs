//! The connection: one per service, kept for ever, its state known to everybody.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, kv, object_store};
use async_nats::{Client, ConnectOptions, Event, Server, ServerAddr};
use bytes::Bytes;
use futures::StreamExt;
use muster_contracts::permissions::inbox_prefix;
use muster_contracts::{Bucket, Code, Fault, ObjectStore};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::login::inbox_owner;
use crate::long_inbox::LongInbox;
use crate::payload::TAKES_PACKED;
use crate::{Settings, SettingsError, ensure, metrics};

/// What an address is.
const EXPECTED: &str = "an address like nats://127.0.0.1:4222";
/// How long a message to oneself may take.
const ROUND_TRIP: Duration = Duration::from_secs(2);
/// How often a waiting operation looks whether the server is away.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The one door to NATS. Cheap to clone.
#[derive(Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) jetstream: jetstream::Context,
    pub(crate) settings: Settings,
    pub(crate) stores: [OnceCell<kv::Store>; Bucket::ALL.len()],
    pub(crate) objects: [OnceCell<object_store::ObjectStore>; ObjectStore::ALL.len()],
    /// Where the replies of long requests come in.
    pub(crate) long_inbox: OnceCell<LongInbox>,
    link: watch::Receiver<Link>,
    ready: watch::Receiver<bool>,
}

/// The state of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) up: bool,
    pub(crate) since: Instant,
    /// Counts the connections: streams that were open before are re-created when it changes.
    pub(crate) generation: u64,
    /// Why the last try to connect failed.
    reason: Option<Arc<str>>,
}

impl Bus {
    /// Opens a connection. Returns at once; a server that is not there is tried for ever, with backoff and jitter. [`Bus::ready`] waits for it.
    ///
    /// ```no_run
    /// # use muster_bus::{Bus, Settings};
    /// # async fn example(settings: Settings) -> Result<(), muster_contracts::Fault> {
    /// let bus = Bus::open(settings).await?;
    /// bus.ready().await;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Where an address is malformed or the credentials file cannot be read.
    pub async fn open(settings: Settings) -> Result<Self, Fault> {
        let (link_sender, link) =
            watch::channel(Link { up: false, since: Instant::now(), generation: 0, reason: None });
        let client = connect(&settings, link_sender).await?;
        let jetstream = jetstream::context::ContextBuilder::new()
            .timeout(Duration::from_secs(5))
            .max_ack_inflight(4096)
            .build(client.clone());
        let (ready_sender, ready) = watch::channel(false);
        let bus = Self {
            inner: Arc::new(Inner {
                client,
                jetstream,
                settings,
                stores: Default::default(),
                objects: Default::default(),
                long_inbox: OnceCell::new(),
                link,
                ready,
            }),
        };
        tokio::spawn(keep_ensured(
            Arc::downgrade(&bus.inner),
            bus.inner.link.clone(),
            ready_sender,
        ));
        Ok(bus)
    }

    /// Waits until the server is there and has every stream and bucket of the contract.
    pub async fn ready(&self) {
        // An error means that the keeper ended, which it does only after the last `Bus` is gone.
        drop(self.inner.ready.clone().wait_for(|ready| *ready).await);
    }

    /// Waits until the server has let us in.
    ///
    /// # Errors
    /// UNAVAILABLE where it has not within `limit`, with its reason.
    pub async fn connected(&self, limit: Duration) -> Result<(), Fault> {
        let mut link = self.inner.link.clone();
        let up = link.wait_for(|link| link.up);
        match tokio::time::timeout(limit, up).await {
            Ok(Ok(_up)) => Ok(()),
            _ => Err(self.unreachable()),
        }
    }

    /// The service that this connection belongs to.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.inner.settings.service
    }

    /// Whether the server is there and has every stream.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.inner.link.borrow().up && *self.inner.ready.borrow()
    }

    /// Asks the server for a sign of life.
    ///
    /// # Errors
    /// UNAVAILABLE where none comes within 2 s.
    pub async fn ping(&self) -> Result<Duration, Fault> {
        let started = Instant::now();
        match tokio::time::timeout(Duration::from_secs(2), self.inner.client.flush()).await {
            Ok(Ok(())) if self.inner.link.borrow().up => Ok(started.elapsed()),
            _ => Err(self.unreachable()),
        }
    }

    /// Sends everything that is buffered.
    pub async fn flush(&self) {
        if let Err(error) = self.inner.client.flush().await {
            warn!(%error, "flush failed");
        }
    }

    /// Returns when all has arrived that the server had for this connection: it sends in its order. Where it is away, at once; where it is silent, after [`ROUND_TRIP`].
    pub(crate) async fn round_trip(&self) {
        if !self.inner.link.borrow().up {
            return;
        }
        let there_and_back = async {
            let inbox = self.client().new_inbox();
            let Ok(mut back) = self.client().subscribe(inbox.clone()).await else { return };
            if self.client().publish(inbox, Bytes::new()).await.is_ok() {
                back.next().await;
            }
        };
        // Then nothing more can be hoped for.
        drop(tokio::time::timeout(ROUND_TRIP, there_and_back).await);
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }

    pub(crate) fn link(&self) -> watch::Receiver<Link> {
        self.inner.link.clone()
    }

    /// Runs an operation, but not longer than the outage budget while the server is away.
    pub(crate) async fn unless_down<T>(
        &self,
        operation: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        match self.until(None, operation).await {
            Some(result) => result,
            None => Err(self.unreachable()),
        }
    }

    /// Runs an operation until `end` (none: it has none), and not longer than the outage budget while the server is away. Nothing where `end` came first.
    pub(crate) async fn until<T>(
        &self,
        end: Option<Instant>,
        operation: impl Future<Output = Result<T, Fault>>,
    ) -> Option<Result<T, Fault>> {
        let mut operation = std::pin::pin!(operation);
        // Looking now and then costs a request next to nothing; being told of each change does not.
        while !self.is_down_for_too_long() {
            let look = Instant::now() + LOOK_EVERY;
            let next = end.map_or(look, |end| look.min(end));
            if let Ok(result) = tokio::time::timeout_at(next, &mut operation).await {
                return Some(result);
            }
            if end.is_some_and(|end| end <= Instant::now()) {
                return None;
            }
        }
        Some(Err(self.unreachable()))
    }

    fn is_down_for_too_long(&self) -> bool {
        let link = self.inner.link.borrow();
        !link.up && link.since.elapsed() >= self.inner.settings.outage_budget
    }

    pub(crate) fn unreachable(&self) -> Fault {
        let urls: Vec<_> = self.inner.settings.urls.iter().map(|url| without_login(url)).collect();
        let urls = urls.join(", ");
        let text = match &self.inner.link.borrow().reason {
            Some(reason) => format!("NATS at {urls} cannot be reached: {reason}"),
            None => format!("NATS at {urls} cannot be reached"),
        };
        Fault::new(Code::Unavailable, text).with_retry_after_ms(1000)
    }
}

/// An address may have a name and a password in it, which no error shows.
fn without_login(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://***@{host}"),
        (None, Some((_, host))) => format!("***@{host}"),
        _ => url.to_owned(),
    }
}

async fn connect(settings: &Settings, link: watch::Sender<Link>) -> Result<Client, Fault> {
    let longest = settings.reconnect_time_wait.as_millis().max(50) as u64;
    let (events, tries) = (Arc::new(link), settings.login.hint());
    let refusals = events.clone();
    let service = settings.service.clone();
    let options = ConnectOptions::new()
        .name(&settings.service)
        .custom_inbox_prefix(format!("{}.{TAKES_PACKED}", inbox_prefix(inbox_owner(settings))))
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ping_interval(settings.ping_interval)
        .request_timeout(Some(Duration::from_secs(30)))
        .subscription_capacity(1 << 16)
        .reconnect_delay_callback(move |tries| {
            Duration::from_millis((tries as u64 * 50).min(longest) + rand::random::<u64>() % 100)
        })
        // The only place where the client says why the last try failed; the choice of the server stays its own.
        .reconnect_to_server_callback(move |servers, _| {
            let (tries, refusals) = (tries.clone(), refusals.clone());
            async move {
                note_failures(&servers, &tries, &refusals).await;
                None
            }
        })
        .event_callback(move |event| {
            note(&event, &service, &events);
            std::future::ready(())
        });
    let invalid = |error: SettingsError| Fault::new(Code::Invalid, error.to_string());
    let options = settings.login.apply(options).await.map_err(invalid)?;
    let options = settings.tls.apply(options).map_err(invalid)?;
    options.connect(addresses(settings)?).await.map_err(|error| {
        Fault::new(
            Code::Unavailable,
            format!("NATS at {} cannot be reached: {error}", settings.urls.join(", ")),
        )
    })
}

fn addresses(settings: &Settings) -> Result<Vec<ServerAddr>, Fault> {
    let address = |url: &String| {
        let wrong = |why: String| {
            let text = format!("NATS_URL has {url:?}, but must be {EXPECTED}: {why}");
            Fault::new(Code::Invalid, text)
        };
        let address = url.parse::<ServerAddr>().map_err(|error| wrong(error.to_string()))?;
        if address.host().is_empty() {
            return Err(wrong("it names no server".to_owned()));
        }
        Ok(address)
    };
    settings.urls.iter().map(address).collect()
}

/// Keeps the reason why no server lets us in, and says it once.
async fn note_failures(servers: &[Server], login: &str, link: &watch::Sender<Link>) {
    let told = servers.iter().find_map(|server| server.last_error.clone());
    let Some(error) = (match told {
        Some(error) => Some(error),
        None => unknown_name(servers).await,
    }) else {
        return;
    };
    let reason = if error.contains("authorization violation") {
        format!("authorization violation: {login}")
    } else {
        error
    };
    link.send_if_modified(|link| {
        let news = link.reason.as_deref() != Some(&reason);
        if news {
            error!(reason, "nats cannot be reached or does not let us in, will try again");
            link.reason = Some(reason.into());
        }
        news
    });
}

/// The server whose name nobody knows, where there is one: the client does not say so.
async fn unknown_name(servers: &[Server]) -> Option<String> {
    let fresh = servers.iter().filter(|server| !server.did_connect);
    for Server { addr, .. } in fresh.filter(|server| server.addr.host().parse::<IpAddr>().is_err())
    {
        if let Err(error) = addr.socket_addrs().await {
            let host = addr.host();
            return Some(format!(
                "the name {host:?} cannot be looked up ({error}); NATS_URL must be {EXPECTED}"
            ));
        }
    }
    None
}

fn note(event: &Event, service: &str, link: &watch::Sender<Link>) {
    match event {
        Event::Connected => {
            link.send_modify(|link| {
                *link = Link {
                    up: true,
                    since: Instant::now(),
                    generation: link.generation + 1,
                    reason: None,
                }
            });
            metrics::connected(service);
            info!("connected to nats");
        }
        Event::Disconnected | Event::Closed => {
            link.send_modify(|link| {
                if link.up {
                    *link = Link { up: false, since: Instant::now(), ..link.clone() };
                }
            });
            metrics::disconnected(service);
            if *event == Event::Closed {
                info!("connection to nats closed");
            } else {
                warn!("connection to nats lost, will reconnect");
            }
        }
        Event::SlowConsumer(subscription) => {
            metrics::messages_dropped(service);
            warn!(subscription, "slow consumer, messages were dropped");
        }
        // The call itself only runs into its deadline: this line is how anybody learns of it.
        Event::ServerError(error) if error.to_string().contains("ermissions Violation") => {
            error!(%error, "nats refused what the contract does not grant this service");
        }
        other => warn!(event = %other, "nats"),
    }
}

/// Ensures streams and buckets after each connect, and again until it works: a memory stream is gone after a restart of the server.
async fn keep_ensured(
    bus: std::sync::Weak<Inner>,
    mut link: watch::Receiver<Link>,
    ready: watch::Sender<bool>,
) {
    let mut told = false;
    loop {
        if link.wait_for(|link| link.up).await.is_err() {
            return;
        }
        let generation = link.borrow().generation;
        loop {
            let Some(inner) = bus.upgrade() else { return };
            match ensure::all(&inner.jetstream, &inner.client, &inner.settings, told).await {
                Ok(()) => break,
                Err(error) => warn!(%error, "streams are not there yet, will try again"),
            }
            drop(inner);
            tokio::time::sleep(Duration::from_millis(300 + rand::random::<u64>() % 400)).await;
        }
        told = true;
        ready.send_replace(true);
        if link.wait_for(|link| link.generation != generation).await.is_err() {
            return;
        }
    }
}
