//! The connection: one per service, kept for ever, its state known to everybody.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, kv, object_store};
use async_nats::{Client, ConnectOptions, Event};
use muster_contracts::{Bucket, Code, Fault};
use tokio::sync::{OnceCell, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::{Settings, ensure};

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
    pub(crate) objects: OnceCell<object_store::ObjectStore>,
    link: watch::Receiver<Link>,
    ready: watch::Receiver<bool>,
}

/// The state of the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) up: bool,
    pub(crate) since: Instant,
    /// Counts the connections: streams that were open before are re-created when it changes.
    pub(crate) generation: u64,
}

impl Bus {
    /// Opens a connection. Returns at once; a server that is not there is tried for ever, with backoff and jitter. [`Bus::ready`] waits for it.
    ///
    /// # Errors
    /// Where an address is malformed or the credentials file cannot be read.
    pub async fn open(settings: Settings) -> Result<Self, Fault> {
        let (link_sender, link) =
            watch::channel(Link { up: false, since: Instant::now(), generation: 0 });
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
                objects: OnceCell::new(),
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
        tokio::select! {
            biased;
            result = operation => result,
            () = self.down_for_too_long() => Err(self.unreachable()),
        }
    }

    async fn down_for_too_long(&self) {
        let mut link = self.inner.link.clone();
        loop {
            let state = *link.borrow_and_update();
            let changed = if state.up {
                link.changed().await
            } else {
                tokio::select! {
                    changed = link.changed() => changed,
                    () = tokio::time::sleep_until(state.since + self.inner.settings.outage_budget) => return,
                }
            };
            if changed.is_err() {
                return std::future::pending().await;
            }
        }
    }

    pub(crate) fn unreachable(&self) -> Fault {
        Fault::new(
            Code::Unavailable,
            format!("NATS at {} cannot be reached", self.inner.settings.urls.join(", ")),
        )
        .with_retry_after_ms(1000)
    }
}

async fn connect(settings: &Settings, link: watch::Sender<Link>) -> Result<Client, Fault> {
    let longest = settings.reconnect_time_wait.as_millis().max(50) as u64;
    let mut options = ConnectOptions::new()
        .name(&settings.service)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .ping_interval(settings.ping_interval)
        .request_timeout(Some(Duration::from_secs(30)))
        .subscription_capacity(1 << 16)
        .reconnect_delay_callback(move |tries| {
            Duration::from_millis((tries as u64 * 50).min(longest) + rand::random::<u64>() % 100)
        })
        .event_callback(move |event| {
            note(&event, &link);
            std::future::ready(())
        });
    if let Some((user, password)) = &settings.user {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(path) = &settings.credentials {
        options = options.credentials_file(path).await.map_err(|error| {
            Fault::new(Code::Invalid, format!("NATS_CREDS {path:?} cannot be used: {error}"))
        })?;
    }
    let expected = "an address like nats://127.0.0.1:4222";
    let servers = settings
        .urls
        .iter()
        .map(|url| {
            url.parse::<async_nats::ServerAddr>().map_err(|error| {
                Fault::new(
                    Code::Invalid,
                    format!("NATS_URL has {url:?}, but must be {expected}: {error}"),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    options.connect(servers).await.map_err(|error| {
        Fault::new(
            Code::Unavailable,
            format!("NATS at {} cannot be reached: {error}", settings.urls.join(", ")),
        )
    })
}

fn note(event: &Event, link: &watch::Sender<Link>) {
    match event {
        Event::Connected => {
            link.send_modify(|link| {
                *link = Link { up: true, since: Instant::now(), generation: link.generation + 1 }
            });
            info!("connected to nats");
        }
        Event::Disconnected | Event::Closed => {
            link.send_modify(|link| {
                if link.up {
                    *link = Link { up: false, since: Instant::now(), ..*link };
                }
            });
            warn!("connection to nats lost, will reconnect");
        }
        Event::SlowConsumer(subscription) => {
            warn!(subscription, "slow consumer, messages were dropped");
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
    loop {
        if link.wait_for(|link| link.up).await.is_err() {
            return;
        }
        let generation = link.borrow().generation;
        loop {
            let Some(inner) = bus.upgrade() else { return };
            match ensure::all(&inner.jetstream, &inner.client, &inner.settings).await {
                Ok(()) => break,
                Err(error) => warn!(%error, "streams are not there yet, will try again"),
            }
            drop(inner);
            tokio::time::sleep(Duration::from_millis(300 + rand::random::<u64>() % 400)).await;
        }
        ready.send_replace(true);
        if link.wait_for(|link| link.generation != generation).await.is_err() {
            return;
        }
    }
}
