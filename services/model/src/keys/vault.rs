//! The stored keys of providers: written, listed and removed by people, opened for calls of this service, and boxed for who may ask.

use chrono::Utc;
use muster_contracts::{Code, Fault};

use super::MasterKeys;
use super::directory::{Directory, provider_place};
use super::envelope::{Closed, Envelope};
use super::record::{ProviderRecord, Record};
use super::sealed::{self, Boxed};
use crate::config::Secret;

/// The stored keys of providers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Vault {
    directory: Directory,
    masters: MasterKeys,
}

/// What became of the keys when the master key changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rewrapped {
    pub(crate) moved: u32,
    pub(crate) unchanged: u32,
}

impl Vault {
    pub(crate) fn new(directory: Directory, masters: MasterKeys) -> Self {
        Self { directory, masters }
    }

    /// Whether there is such a key.
    pub(crate) fn has(&self, provider: &str, key_id: &str) -> bool {
        self.find(provider, key_id).is_some()
    }

    /// The key with this name. One with the provider's own name, which nobody has stored, is the newest of the provider.
    fn find(&self, provider: &str, key_id: &str) -> Option<ProviderRecord> {
        let newest = || match provider == key_id {
            true => self.directory.provider_keys(provider).pop(),
            false => None,
        };
        self.directory.provider_key(provider, key_id).or_else(newest)
    }

    /// A key in plain, for the one call that needs it; nothing where it is not there.
    ///
    /// # Errors
    /// UNAVAILABLE where its master key is not set, INTERNAL where it was damaged.
    pub(crate) async fn open(&self, provider: &str, key_id: &str) -> Result<Option<Secret>, Fault> {
        self.directory.ready().await?;
        let record = self.find(provider, key_id);
        record.map(|record| self.secret(&record)).transpose()
    }

    /// The newest key of a provider for a requester: its id, and the key in a box that only the owner of `public_key` opens.
    ///
    /// # Errors
    /// NOT_FOUND where no key of the provider is stored, INVALID where `public_key` is none.
    pub(crate) async fn hand_out(
        &self,
        provider: &str,
        public_key: &str,
    ) -> Result<(String, Boxed), Fault> {
        self.directory.ready().await?;
        let record = self.directory.provider_keys(provider).pop().ok_or_else(|| {
            Fault::new(Code::NotFound, format!("no key of the provider {provider:?} is stored"))
        })?;
        let key = self.secret(&record)?;
        let boxed = sealed::for_requester(public_key, &key).ok_or_else(|| {
            let right = "the base64 of the 32 bytes of an X25519 public key";
            Fault::new(Code::Invalid, format!("public_key must be {right}"))
        })?;
        Ok((record.key_id, boxed))
    }

    /// Stores a key under the newest master key.
    ///
    /// # Errors
    /// UNAVAILABLE where no master key is set, or the bucket cannot be written.
    pub(crate) async fn put(
        &self,
        provider: &str,
        key_id: &str,
        key: &Secret,
    ) -> Result<ProviderRecord, Fault> {
        let place = provider_place(provider, key_id);
        let envelope = Envelope::seal(&self.masters, &place, key)
            .map_err(|closed| told(provider, key_id, &closed))?;
        let record = ProviderRecord {
            provider: provider.to_owned(),
            key_id: key_id.to_owned(),
            created_at: Utc::now(),
            envelope,
        };
        self.directory.put(Record::Provider(record.clone())).await?;
        Ok(record)
    }

    /// Puts every key under the newest master key, whose id is returned too. A key that somebody replaces meanwhile is under it anyway.
    ///
    /// # Errors
    /// UNAVAILABLE where no master key is set, or that of a key; then the keys before it are moved.
    pub(crate) async fn rewrap(&self) -> Result<(String, Rewrapped), Fault> {
        self.directory.ready().await?;
        let (newest, _) = self.masters.newest().ok_or_else(|| told("", "", &Closed::NoMaster))?;
        let mut done = Rewrapped::default();
        for record in self.directory.provider_keys("") {
            let place = provider_place(&record.provider, &record.key_id);
            let moved = record.envelope.rewrap(&self.masters, &place);
            match moved.map_err(|closed| told(&record.provider, &record.key_id, &closed))? {
                None => done.unchanged += 1,
                Some(envelope) => {
                    let after = ProviderRecord { envelope, ..record.clone() };
                    match self.directory.replace(&record, after).await? {
                        true => done.moved += 1,
                        false => done.unchanged += 1,
                    }
                }
            }
        }
        Ok((newest.to_owned(), done))
    }

    fn secret(&self, record: &ProviderRecord) -> Result<Secret, Fault> {
        let place = provider_place(&record.provider, &record.key_id);
        let opened = record.envelope.open(&self.masters, &place);
        opened.map_err(|closed| told(&record.provider, &record.key_id, &closed))
    }
}

fn told(provider: &str, key_id: &str, closed: &Closed) -> Fault {
    let of = match provider {
        "" => String::new(),
        provider => format!("the key {key_id:?} of {provider}: "),
    };
    let code = if *closed == Closed::Damaged { Code::Internal } else { Code::Unavailable };
    Fault::new(code, format!("{of}{closed}"))
}
