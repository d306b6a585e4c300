//! Whose virtual key a client has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::{self, BoxFuture};
use muster_bus::Bus;
use muster_contracts::model::v1::{CheckVirtualKeyRequest, ListVirtualKeysRequest, VirtualKey};
use muster_contracts::{Code, Fault};
use tokio::time::Instant;

use super::client::{Client, Who};
use crate::domain::idempotency::hex;
use crate::waits::Waits;

/// How long an answer of the model service holds: as long may a key still be used that expires.
const KEPT: Duration = Duration::from_secs(5);
/// How often a key is looked up for which a stream is open: its end may not have been heard of.
const LOOKED_UP: Duration = Duration::from_secs(30);
/// The most answers that are kept.
const MOST: usize = 10_000;

/// The virtual keys that clients came with, and to whom they belong. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys {
    bus: Bus,
    /// Whether a request needs a key even where none is registered.
    required: bool,
    known: Arc<Mutex<Known>>,
    /// Streams that end with their key, by its id.
    ends: Waits<()>,
}

#[derive(Default)]
struct Known {
    /// By hash; none where the key is nobody's.
    clients: HashMap<[u8; 32], (Instant, Option<Client>)>,
    exist: Option<(Instant, bool)>,
    /// How often keys were taken away: what was asked before that holds no more.
    revoked: u64,
}

impl Known {
    /// Whose key has this hash, where the answer still holds.
    fn fresh(&self, hash: &[u8; 32]) -> Option<&Option<Client>> {
        self.clients.get(hash).filter(|(at, _)| at.elapsed() < KEPT).map(|(_, client)| client)
    }
}

impl Keys {
    pub(super) fn new(bus: &Bus, required: bool) -> Self {
        Self { bus: bus.clone(), required, known: Arc::default(), ends: Waits::default() }
    }

    /// Whether OpenAI's paths need a key where nothing else does: keys are registered, or required. Else any key will do, as clients of OpenAI's always send one.
    pub(super) async fn are_needed(&self) -> Result<bool, Fault> {
        if self.required {
            return Ok(true);
        }
        if let Some((_, exist)) = self.known().exist.filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(exist);
        }
        let list = self.bus.request(&ListVirtualKeysRequest::default()).await?;
        let exist = !list.keys.is_empty();
        self.known().exist = Some((Instant::now(), exist));
        Ok(exist)
    }

    /// Whose key has this hash, and whether the model service was asked just now.
    pub(super) async fn check(&self, hash: &[u8; 32]) -> Result<(Option<Client>, bool), Fault> {
        let revoked = {
            let known = self.known();
            if let Some(client) = known.fresh(hash) {
                return Ok((client.clone(), false));
            }
            known.revoked
        };
        let client = self.ask(hash).await?;
        let mut known = self.known();
        if known.clients.len() >= MOST {
            known.clients.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if known.clients.len() < MOST && known.revoked == revoked {
            known.clients.insert(*hash, (Instant::now(), client.clone()));
        }
        Ok((client, true))
    }

    async fn ask(&self, hash: &[u8; 32]) -> Result<Option<Client>, Fault> {
        match self.bus.request(&CheckVirtualKeyRequest { hash: hex(hash) }).await {
            // Without a tenant it would be an admin's.
            Ok(VirtualKey { key_id, tenant, name, models, .. }) if !tenant.is_empty() => {
                Ok(Some(Who { tenant, key_id, hash: *hash, name, models }.into()))
            }
            Ok(_of_nobody) => Ok(None),
            Err(fault) if fault.code == Code::Unauthenticated => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// Waits until the client's key is nobody's any more; for ever where it has none.
    pub(super) fn gone(&self, client: &Client) -> BoxFuture<'static, ()> {
        if client.key_id.is_empty() {
            return future::pending().boxed();
        }
        // First to listen, then to look: between the two nothing is missed.
        let mut end = self.ends.register(&client.key_id);
        let (keys, client) = (self.clone(), client.clone());
        async move {
            tokio::select! {
                () = end.told() => {}
                () = keys.missed(&client.hash) => {}
            }
        }
        .boxed()
    }

    /// Waits until a key is found to be nobody's. What is asked here is not kept: a request with the key is still told to the audit.
    async fn missed(&self, hash: &[u8; 32]) {
        loop {
            let is_known = matches!(self.known().fresh(hash), Some(Some(_)));
            // Where the model service does not answer, the key stays what it was.
            if !is_known && matches!(self.ask(hash).await, Ok(None)) {
                return;
            }
            tokio::time::sleep(LOOKED_UP).await;
        }
    }

    /// A key was taken away.
    pub(super) fn forget(&self, key_id: &str) {
        {
            let mut known = self.known();
            known.revoked += 1;
            let is_other = |client: &Client| client.key_id != key_id;
            known.clients.retain(|_, (_, client)| client.as_ref().is_none_or(is_other));
        }
        self.ends.tell(key_id, &());
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
