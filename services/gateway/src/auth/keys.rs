//! Whose virtual key a client has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_bus::Bus;
use muster_contracts::model::v1::{CheckVirtualKeyRequest, ListVirtualKeysRequest, VirtualKey};
use muster_contracts::{Code, Fault};
use tokio::time::Instant;

use super::client::{Client, Who};
use crate::domain::idempotency::hex;

/// How long an answer of the model service holds: as long may a key still be used that expires.
const KEPT: Duration = Duration::from_secs(5);
/// The most answers that are kept.
const MOST: usize = 10_000;

/// The virtual keys that clients came with, and to whom they belong. Cheap to clone.
#[derive(Clone)]
pub(super) struct Keys {
    bus: Bus,
    /// Whether a request needs a key even where none is registered.
    required: bool,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By hash; none where the key is nobody's.
    clients: HashMap<[u8; 32], (Instant, Option<Client>)>,
    exist: Option<(Instant, bool)>,
    /// How often keys were taken away: what was asked before that holds no more.
    revoked: u64,
}

impl Keys {
    pub(super) fn new(bus: &Bus, required: bool) -> Self {
        Self { bus: bus.clone(), required, known: Arc::default() }
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
            if let Some((at, client)) = known.clients.get(hash)
                && at.elapsed() < KEPT
            {
                return Ok((client.clone(), false));
            }
            known.revoked
        };
        let client = match self.bus.request(&CheckVirtualKeyRequest { hash: hex(hash) }).await {
            // Without a tenant it would be an admin's.
            Ok(VirtualKey { key_id, tenant, name, models, .. }) if !tenant.is_empty() => {
                Some(Who { tenant, key_id, name, models }.into())
            }
            Ok(_of_nobody) => None,
            Err(fault) if fault.code == Code::Unauthenticated => None,
            Err(fault) => return Err(fault),
        };
        let mut known = self.known();
        if known.clients.len() >= MOST {
            known.clients.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if known.clients.len() < MOST && known.revoked == revoked {
            known.clients.insert(*hash, (Instant::now(), client.clone()));
        }
        Ok((client, true))
    }

    /// A key was taken away.
    pub(super) fn forget(&self, key_id: &str) {
        let mut known = self.known();
        known.revoked += 1;
        let is_other = |client: &Client| client.key_id != key_id;
        known.clients.retain(|_, (_, client)| client.as_ref().is_none_or(is_other));
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
