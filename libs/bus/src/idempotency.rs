//! Handlers run once per event id, beyond the broker's own window: 24 hours.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use muster_contracts::Fault;
use sha2::{Digest, Sha256};

use crate::id::hex;
use crate::{Bucket, Bus, Kv};

/// What a consumer has handled. The record is written after the handler and before the acknowledgement.
pub(crate) struct Handled {
    store: Kv<bool>,
    consumer: String,
    running: Mutex<HashSet<String>>,
}

/// A running handler's claim on its event id, released when dropped.
pub(crate) struct Claim<'a> {
    handled: &'a Handled,
    key: String,
}

impl Handled {
    pub(crate) fn new(bus: &Bus, consumer: &str) -> Self {
        Self {
            store: bus.kv(Bucket::Idempotency),
            consumer: consumer.to_owned(),
            running: Mutex::default(),
        }
    }

    /// A claim on this id; none where a handler in this process holds it.
    pub(crate) fn claim(&self, id: &str) -> Option<Claim<'_>> {
        let key = format!("{}/{}", self.consumer, hex(&Sha256::digest(id.as_bytes()), 16));
        let free = self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        free.then(|| Claim { handled: self, key })
    }
}

impl Claim<'_> {
    pub(crate) async fn is_done(&self) -> Result<bool, Fault> {
        Ok(self.handled.store.get(&self.key).await?.is_some())
    }

    pub(crate) async fn done(&self) -> Result<(), Fault> {
        self.handled.store.put(&self.key, &true).await.map(|_revision| ())
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.handled.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
