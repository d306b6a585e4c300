//! Tells on the bus who came in, who was refused, and which keys came and went. No request waits for it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use muster_bus::{Bus, MessageId};
use muster_contracts::auth::v1::{KeyCreated, KeyRevoked, LoginFailed, LoginSucceeded};
use muster_contracts::{Fault, now};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use super::client::Client;

/// What waits to be told at most; what comes then is lost.
const WAITING: usize = 1_024;
/// How often the same key is told to have come in.
const AGAIN: Duration = Duration::from_secs(3_600);
/// The most keys that are remembered.
const MOST: usize = 10_000;
/// Refusals that are told within a [`WINDOW`]: somebody who tries keys must not fill the stream.
const REFUSALS: u32 = 60;
const WINDOW: Duration = Duration::from_secs(60);
/// How often it is tried to tell one, and the pause between.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);

const API_KEY: &str = "api_key";
const ADMIN_TOKEN: &str = "admin_token";

/// What is told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    CameIn(LoginSucceeded),
    Refused(LoginFailed),
    Created(KeyCreated),
    Revoked(KeyRevoked),
}

/// Where it is said what is to be told. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Audit {
    sender: mpsc::Sender<Told>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// When a key or token was last told of.
    clients: HashMap<String, Instant>,
    /// Since when refusals are counted, and how many there were.
    refusals: Option<(Instant, u32)>,
}

impl Audit {
    /// The sender, and what has to be told by [`tell_audit`].
    pub(crate) fn new() -> (Self, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (Self { sender, seen: Arc::default() }, receiver)
    }

    /// Somebody was let in: told the first time, and again after an hour.
    pub(super) fn came_in(&self, client: &Client, address: Option<IpAddr>) {
        let (subject, method, name) = match client.is_admin() {
            true => (&client.name, ADMIN_TOKEN, format!("token {}", client.name)),
            false => (&client.tenant, API_KEY, format!("key {}", client.key_id)),
        };
        if !self.is_due(&name) {
            return;
        }
        self.tell(Told::CameIn(LoginSucceeded {
            subject: subject.clone(),
            method: method.to_owned(),
            ip: shown(address),
            key_id: client.key_id.clone(),
            timestamp: now(Utc::now()),
        }));
    }

    /// Somebody was refused.
    pub(super) fn refused(&self, masked: &str, address: Option<IpAddr>) {
        if !self.may_tell_refusal() {
            return;
        }
        self.tell(Told::Refused(LoginFailed {
            method: API_KEY.to_owned(),
            ip: shown(address),
            reason: format!("nobody has the key {masked}, or it has expired"),
            timestamp: now(Utc::now()),
            ..LoginFailed::default()
        }));
    }

    /// A virtual key was made.
    pub(crate) fn created(&self, of: Changed<'_>) {
        self.tell(Told::Created(KeyCreated {
            subject: of.tenant.to_owned(),
            method: API_KEY.to_owned(),
            ip: shown(of.address),
            key_id: of.key_id.to_owned(),
            timestamp: now(Utc::now()),
            by: of.by.name.clone(),
        }));
    }

    /// A virtual key was taken away.
    pub(crate) fn revoked(&self, of: Changed<'_>) {
        self.tell(Told::Revoked(KeyRevoked {
            subject: of.tenant.to_owned(),
            method: API_KEY.to_owned(),
            ip: shown(of.address),
            key_id: of.key_id.to_owned(),
            reason: "removed".to_owned(),
            timestamp: now(Utc::now()),
            by: of.by.name.clone(),
        }));
    }

    fn is_due(&self, name: &str) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.clients.get(name).is_some_and(|at| at.elapsed() < AGAIN) {
            return false;
        }
        if seen.clients.len() >= MOST {
            seen.clients.clear();
        }
        seen.clients.insert(name.to_owned(), Instant::now());
        true
    }

    fn may_tell_refusal(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, count) = match seen.refusals {
            Some((since, count)) if since.elapsed() < WINDOW => (since, count.saturating_add(1)),
            Some((_, count)) => {
                if count > REFUSALS {
                    warn!(refused = count, "more requests with wrong keys than are told as events");
                }
                (Instant::now(), 1)
            }
            None => (Instant::now(), 1),
        };
        seen.refusals = Some((since, count));
        count <= REFUSALS
    }

    fn tell(&self, told: Told) {
        if self.sender.try_send(told).is_err() {
            warn!("an event about authentication was lost: too many wait for the bus");
        }
    }
}

/// A key that came or went.
#[derive(Clone, Copy)]
pub(crate) struct Changed<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) by: &'a Client,
    pub(crate) address: Option<IpAddr>,
}

/// Tells what waits, one after the other, until the sender is gone.
pub(crate) async fn tell_audit(bus: Bus, mut waiting: mpsc::Receiver<Told>) {
    while let Some(told) = waiting.recv().await {
        let id = MessageId::random();
        for attempt in 1..=TRIES {
            match publish(&bus, &told, &id).await {
                Ok(()) => break,
                Err(error) if attempt == TRIES => {
                    warn!(%error, "an event about authentication could not be told");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

async fn publish(bus: &Bus, told: &Told, id: &MessageId) -> Result<(), Fault> {
    match told {
        Told::CameIn(event) => bus.publish(event, id).await.map(drop),
        Told::Refused(event) => bus.publish(event, id).await.map(drop),
        Told::Created(event) => bus.publish(event, id).await.map(drop),
        Told::Revoked(event) => bus.publish(event, id).await.map(drop),
    }
}

fn shown(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}
