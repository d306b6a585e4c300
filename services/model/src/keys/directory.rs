//! What the bucket `KEYS` has, in memory: whether a key or an allowance applies to a request must not cost a round trip.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chrono::Utc;
use futures::StreamExt;
use futures::stream;
use muster_bus::{Bucket, Bus, Kv, KvError, Versioned};
use muster_contracts::{Code, Fault};
use tokio::sync::watch;
use tracing::{debug, warn};

use super::record::{AllowanceRecord, ProviderRecord, Record, VirtualRecord, key_id};
use crate::limits::{Limits, Owner, token};

const PAUSE: Duration = Duration::from_millis(500);
/// How long a request waits for the first look into the bucket.
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// Entries that are read at the same time at the start.
const READ_TOGETHER: usize = 64;

/// The entries of the bucket. Every replica hears of every change within milliseconds. Cheap to clone; [`Directory::keep`] has to run.
#[derive(Clone)]
pub(crate) struct Directory {
    entries: Kv<Record>,
    known: Arc<RwLock<Known>>,
    loaded: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    virtual_keys: HashMap<String, VirtualRecord>,
    allowances: HashMap<Owner, AllowanceRecord>,
    provider_keys: HashMap<(String, String), ProviderRecord>,
    revisions: HashMap<String, u64>,
}

impl Known {
    fn put(&mut self, place: &str, entry: Versioned<Record>) {
        let revision = self.revisions.entry(place.to_owned()).or_default();
        if entry.revision < *revision {
            return;
        }
        *revision = entry.revision;
        match entry.value {
            Record::Virtual(key) => drop(self.virtual_keys.insert(key.key_id.clone(), key)),
            Record::Allowance(allowance) => {
                if let Some(owner) = allowance.owner() {
                    self.allowances.insert(owner, allowance);
                }
            }
            Record::Provider(key) => {
                let name = (key.provider.clone(), key.key_id.clone());
                self.provider_keys.insert(name, key);
            }
        }
    }

    fn remove(&mut self, place: &str) {
        self.virtual_keys.retain(|id, _| virtual_place(id) != place);
        self.allowances.retain(|owner, _| allowance_place(owner) != place);
        self.provider_keys.retain(|(provider, id), _| provider_place(provider, id) != place);
    }
}

fn virtual_place(key_id: &str) -> String {
    format!("virtual.{key_id}")
}

fn allowance_place(owner: &Owner) -> String {
    format!("allowance.{}", owner.account())
}

/// Where the key of a provider is kept.
pub(crate) fn provider_place(provider: &str, key_id: &str) -> String {
    format!("provider.{}.{}", token(provider), token(key_id))
}

impl Directory {
    pub(crate) fn new(bus: &Bus) -> Self {
        let entries = bus.kv(Bucket::Keys);
        Self { entries, known: Arc::default(), loaded: watch::Sender::new(false) }
    }

    /// Reads the bucket and hears of its changes for ever.
    pub(crate) async fn keep(self) {
        while let Err(error) = self.load().await {
            debug!(%error, "keys and allowances cannot be read, will try again");
            tokio::time::sleep(PAUSE).await;
        }
        self.loaded.send_replace(true);
        let mut changes = std::pin::pin!(self.entries.watch(""));
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => match change.value {
                    Some(entry) => self.write().put(&change.key, entry),
                    None => self.write().remove(&change.key),
                },
                Err(error) => warn!(%error, "an entry of KEYS cannot be read"),
            }
        }
    }

    async fn load(&self) -> Result<(), Fault> {
        let places = self.entries.keys("").await?;
        let read = |place: String| async move {
            self.entries.get(&place).await.map(|entry| (place, entry))
        };
        let mut entries = stream::iter(places).map(read).buffer_unordered(READ_TOGETHER);
        while let Some(entry) = entries.next().await {
            match entry {
                Ok((place, Some(entry))) => self.write().put(&place, entry),
                Ok((_, None)) => {}
                Err(fault) if fault.code == Code::Internal => {
                    warn!(error = %fault, "an entry of KEYS cannot be read");
                }
                Err(fault) => return Err(fault),
            }
        }
        Ok(())
    }

    /// Waits until the bucket was read once: what is not known yet must not count as free.
    ///
    /// # Errors
    /// UNAVAILABLE where it cannot be read.
    pub(crate) async fn ready(&self) -> Result<(), Fault> {
        if *self.loaded.borrow() {
            return Ok(());
        }
        let mut loaded = self.loaded.subscribe();
        let loaded = loaded.wait_for(|loaded| *loaded);
        match tokio::time::timeout(FIRST_LOOK, loaded).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Fault::new(Code::Unavailable, "keys and allowances could not be read yet")
                .with_retry_after_ms(1_000)),
        }
    }

    pub(crate) fn virtual_key(&self, key_id: &str) -> Option<VirtualRecord> {
        self.read().virtual_keys.get(key_id).cloned()
    }

    /// The key with this hash. One that another replica has just made is looked up in the bucket.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub(crate) async fn by_hash(&self, hash: &str) -> Result<Option<VirtualRecord>, Fault> {
        self.ready().await?;
        self.by_id(&key_id(hash)).await.map(|key| key.filter(|key| key.hash == hash))
    }

    /// The key with this id, looked up as [`Directory::by_hash`].
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub(crate) async fn by_id(&self, key_id: &str) -> Result<Option<VirtualRecord>, Fault> {
        if let Some(key) = self.virtual_key(key_id) {
            return Ok(Some(key));
        }
        let place = virtual_place(&token(key_id));
        match self.entries.get(&place).await? {
            Some(Versioned { value: Record::Virtual(key), revision }) => {
                let entry = Versioned { value: Record::Virtual(key.clone()), revision };
                self.write().put(&place, entry);
                Ok(Some(key))
            }
            _ => Ok(None),
        }
    }

    pub(crate) fn virtual_keys(&self, tenant: &str) -> Vec<VirtualRecord> {
        let known = self.read();
        let keys = known.virtual_keys.values();
        let mut keys: Vec<VirtualRecord> =
            keys.filter(|key| tenant.is_empty() || key.tenant == tenant).cloned().collect();
        keys.sort_by(|a, b| (a.created_at, &a.key_id).cmp(&(b.created_at, &b.key_id)));
        keys
    }

    /// What this owner may spend and do, where anybody said so.
    pub(crate) fn allowance(&self, owner: &Owner) -> Option<AllowanceRecord> {
        self.read().allowances.get(owner).cloned()
    }

    pub(crate) fn limits(&self, owner: &Owner) -> Option<Limits> {
        self.read().allowances.get(owner).map(AllowanceRecord::limits)
    }

    /// Whether there is any allowance: mostly there is none, and nothing has to be looked for.
    pub(crate) fn has_allowances(&self) -> bool {
        !self.read().allowances.is_empty()
    }

    pub(crate) fn allowances(&self) -> Vec<AllowanceRecord> {
        let known = self.read();
        let mut allowances: Vec<(&Owner, &AllowanceRecord)> = known.allowances.iter().collect();
        allowances.sort_by_key(|(owner, _)| *owner);
        allowances.into_iter().map(|(_, allowance)| allowance.clone()).collect()
    }

    pub(crate) fn provider_key(&self, provider: &str, key_id: &str) -> Option<ProviderRecord> {
        self.read().provider_keys.get(&(provider.to_owned(), key_id.to_owned())).cloned()
    }

    /// The keys of a provider, or of all; the newest last.
    pub(crate) fn provider_keys(&self, provider: &str) -> Vec<ProviderRecord> {
        let known = self.read();
        let keys = known.provider_keys.values();
        let mut keys: Vec<ProviderRecord> =
            keys.filter(|key| provider.is_empty() || key.provider == provider).cloned().collect();
        keys.sort_by(|a, b| {
            (&a.provider, a.created_at, &a.key_id).cmp(&(&b.provider, b.created_at, &b.key_id))
        });
        keys
    }

    /// Adds a key of a client.
    ///
    /// # Errors
    /// CONFLICT where there is one with this hash, UNAVAILABLE where the bucket cannot be written.
    pub(crate) async fn add(&self, key: VirtualRecord) -> Result<(), Fault> {
        let place = virtual_place(&key.key_id);
        let value = Record::Virtual(key);
        let revision = self.entries.create(&place, &value).await.map_err(|error| match error {
            KvError::Conflict => {
                Fault::new(Code::Conflict, "a key with this hash is there already")
            }
            KvError::Fault(fault) => fault,
        })?;
        self.write().put(&place, Versioned { value, revision });
        Ok(())
    }

    /// Sets an allowance or a key of a provider, whatever it was.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub(crate) async fn put(&self, value: Record) -> Result<(), Fault> {
        let place = match &value {
            Record::Virtual(key) => virtual_place(&key.key_id),
            Record::Provider(key) => provider_place(&key.provider, &key.key_id),
            Record::Allowance(allowance) => match allowance.owner() {
                Some(owner) => allowance_place(&owner),
                None => return Ok(()),
            },
        };
        let revision = self.entries.put(&place, &value).await?;
        self.write().put(&place, Versioned { value, revision });
        Ok(())
    }

    /// Changes a key of a provider that nobody else has changed since it was read. False where somebody has.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read or written.
    pub(crate) async fn replace(
        &self,
        before: &ProviderRecord,
        after: ProviderRecord,
    ) -> Result<bool, Fault> {
        let place = provider_place(&before.provider, &before.key_id);
        let Some(found) = self.entries.get(&place).await? else { return Ok(true) };
        if found.value != Record::Provider(before.clone()) {
            return Ok(false);
        }
        let value = Record::Provider(after);
        match self.entries.update(&place, &value, found.revision).await {
            Ok(revision) => {
                self.write().put(&place, Versioned { value, revision });
                Ok(true)
            }
            Err(KvError::Conflict) => Ok(false),
            Err(KvError::Fault(fault)) => Err(fault),
        }
    }

    /// Removes a key of a client. False where there is none.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub(crate) async fn remove_virtual(&self, key_id: &str) -> Result<bool, Fault> {
        self.remove(virtual_place(&token(key_id))).await
    }

    /// Removes an allowance. False where there is none.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub(crate) async fn remove_allowance(&self, owner: &Owner) -> Result<bool, Fault> {
        self.remove(allowance_place(owner)).await
    }

    /// Removes a key of a provider. False where there is none.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub(crate) async fn remove_provider(
        &self,
        provider: &str,
        key_id: &str,
    ) -> Result<bool, Fault> {
        self.remove(provider_place(provider, key_id)).await
    }

    async fn remove(&self, place: String) -> Result<bool, Fault> {
        if self.entries.get(&place).await?.is_none() {
            self.write().remove(&place);
            return Ok(false);
        }
        self.entries.delete(&place).await?;
        self.write().remove(&place);
        Ok(true)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who has this key, where it is good.
///
/// # Errors
/// UNAUTHENTICATED where nobody has it or it has expired.
pub(crate) fn good(key: Option<VirtualRecord>) -> Result<VirtualRecord, Fault> {
    let refused = |why: &str| Err(Fault::new(Code::Unauthenticated, why));
    match key {
        None => refused("nobody has this key: it was never made, or it was deleted"),
        Some(key) if key.has_expired(Utc::now()) => refused("the key has expired"),
        Some(key) => Ok(key),
    }
}
