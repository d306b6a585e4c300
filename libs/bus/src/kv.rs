//! Typed key-value buckets with compare-and-set.

mod entries;
mod sealed;
mod watch;

use std::marker::PhantomData;

use async_nats::HeaderMap;
use async_nats::jetstream::kv::Store;
use async_nats::jetstream::message::StreamMessage;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use muster_contracts::permissions::key_prefix;
use muster_contracts::{Bucket, Code, Fault};
use serde::{Serialize, de::DeserializeOwned};

use crate::payload::check_depth;
use crate::publish::Refused;
use crate::{Bus, MessageId};

pub use self::watch::KeyChange;

/// The header of an entry that removes its key.
const OPERATION: &str = "KV-Operation";

/// A value with the revision that [`Kv::update`] expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// Its revision.
    pub revision: u64,
}

/// A write that was refused.
#[derive(Debug, thiserror::Error)]
pub enum KvError {
    /// The key is there already, or has another revision: nothing was written by this call.
    #[error("the key has changed")]
    Conflict,
    /// Nothing can be said about the key: this call may have written it.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Somebody else has written while a write was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("it has changed meanwhile, and whether this write came before that is not known")]
struct Overwritten;

/// A bucket whose values are `T` as JSON.
#[derive(Clone)]
pub struct Kv<T> {
    bus: Bus,
    bucket: Bucket,
    sealing: Option<sealed::Sealing>,
    value: PhantomData<fn() -> T>,
}

impl Bus {
    /// A bucket with values of this type. In a bucket that several services write, each has a space of its own. A key has letters, digits and `-/_=.` only.
    ///
    /// ```no_run
    /// # use muster_bus::{Bucket, Bus, KvError};
    /// # async fn example(bus: Bus) -> Result<(), KvError> {
    /// let counts = bus.kv::<u32>(Bucket::Registry);
    /// let revision = counts.create("seen", &1).await?;
    /// counts.update("seen", &2, revision).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn kv<T: Serialize + DeserializeOwned>(&self, bucket: Bucket) -> Kv<T> {
        Kv { bus: self.clone(), bucket, sealing: None, value: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// The value of a key, as the bucket's leader has it: what was written is read.
    ///
    /// # Errors
    /// INVALID where the key has other characters than it may, UNAVAILABLE where the bucket cannot be read, INTERNAL where the value is of another type.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned<T>>, Fault> {
        self.get_or_reason(key).await?.transpose()
    }

    /// As [`Kv::get`], for readers of many values that one of them must not hold up: where the bucket can be read and the value cannot, the inner fault says why. It is UNAVAILABLE where the value is
    /// sealed with a key that this process does not have, INVALID where it was changed or moved, INTERNAL where it is of another type.
    ///
    /// # Errors
    /// INVALID where the key has other characters than it may, UNAVAILABLE where the bucket cannot be read.
    pub async fn get_or_reason(
        &self,
        key: &str,
    ) -> Result<Option<Result<Versioned<T>, Fault>>, Fault> {
        let entry = self.entry(key).await?.filter(|entry| !is_gone(entry));
        Ok(entry.map(|entry| {
            let value = self.decode(key, &entry.payload)?;
            Ok(Versioned { value, revision: entry.sequence })
        }))
    }

    /// Sets a key, whatever it was. Returns its revision.
    ///
    /// # Errors
    /// INVALID where the key has other characters than it may, UNAVAILABLE where the bucket cannot be written.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, Fault> {
        let body = self.encode(key, value)?;
        self.write(key, body, None).await.map_err(|error| self.fault_of(key, error))
    }

    /// Sets a key that is not there. Returns its revision.
    ///
    /// # Errors
    /// [`KvError::Conflict`] where it is there.
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, KvError> {
        let body = self.encode(key, value)?;
        match self.write(key, body.clone(), Some(0)).await {
            // A key that was removed is not there, but has a revision.
            Err(KvError::Conflict) => match self.entry(key).await? {
                Some(entry) if is_gone(&entry) => self.write(key, body, Some(entry.sequence)).await,
                _ => Err(KvError::Conflict),
            },
            written => written,
        }
    }

    /// Sets a key that has this revision. Returns the new one.
    ///
    /// # Errors
    /// [`KvError::Conflict`] where it has another.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, KvError> {
        let body = self.encode(key, value)?;
        self.write(key, body, Some(revision)).await
    }

    /// Removes a key.
    ///
    /// # Errors
    /// INVALID where the key has other characters than it may, UNAVAILABLE where the bucket cannot be written.
    pub async fn delete(&self, key: &str) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "DEL");
        let written = self.write_with(key, headers, Bytes::new(), None).await;
        written.map(drop).map_err(|error| self.fault_of(key, error))
    }

    /// The keys that begin with `prefix`, in their order.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let space = key_prefix(self.bucket, self.bus.service());
        let operation = async {
            let keys =
                self.store().await?.keys().await.map_err(|error| self.failed(prefix, &error))?;
            let own = |key: String| key.strip_prefix(&space).map(str::to_owned);
            keys.try_filter_map(|key| std::future::ready(Ok(own(key))))
                .try_filter(|key| std::future::ready(key.starts_with(prefix)))
                .boxed()
                .try_collect::<Vec<_>>()
                .await
                .map_err(|error| self.failed(prefix, &error))
        };
        let mut keys = self.bus.unless_down(operation).await?;
        keys.sort();
        Ok(keys)
    }

    async fn entry(&self, key: &str) -> Result<Option<StreamMessage>, Fault> {
        self.bus.last_message(&format!("KV_{}", self.bucket.name()), &self.subject(key)?).await
    }

    async fn write(&self, key: &str, body: Bytes, expected: Option<u64>) -> Result<u64, KvError> {
        self.write_with(key, HeaderMap::new(), body, expected).await
    }

    /// Each write has an id of its own: it is tried over an election, and one whose acknowledgement was lost is not taken for somebody else's.
    async fn write_with(
        &self,
        key: &str,
        mut headers: HeaderMap,
        body: Bytes,
        expected: Option<u64>,
    ) -> Result<u64, KvError> {
        let id = MessageId::random();
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        let subject = self.subject(key)?;
        match self.bus.publish_expecting(subject, headers, body, expected).await {
            Ok(published) => Ok(published.sequence),
            Err(Refused::WrongLastSequence { at_once: true }) => Err(KvError::Conflict),
            // It may be this very write that has changed the key, in a try whose acknowledgement was lost.
            Err(Refused::WrongLastSequence { at_once: false }) => match self.entry(key).await? {
                Some(entry) if is_by(&entry, &id) => Ok(entry.sequence),
                // A bucket keeps the last value only, so that nobody can tell what was before it.
                _ => Err(KvError::Fault(self.failed(key, &Overwritten))),
            },
            Err(Refused::Fault(fault)) => Err(KvError::Fault(fault)),
        }
    }

    fn subject(&self, key: &str) -> Result<String, Fault> {
        let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"-/_=.".contains(&letter);
        if key.is_empty() || key.starts_with('.') || key.ends_with('.') || !key.bytes().all(allowed)
        {
            let right = "letters, digits and -/_=. only, and no dot at its ends";
            return Err(Fault::new(
                Code::Invalid,
                format!("the key {key:?} of {} must have {right}", self.bucket.name()),
            ));
        }
        let space = key_prefix(self.bucket, self.bus.service());
        Ok(format!("$KV.{}.{space}{key}", self.bucket.name()))
    }

    /// A write that expects nothing is never a conflict.
    fn fault_of(&self, key: &str, error: KvError) -> Fault {
        match error {
            KvError::Fault(fault) => fault,
            KvError::Conflict => self.failed(key, &error),
        }
    }

    async fn store(&self) -> Result<&Store, Fault> {
        let stores = self.bus.inner.stores.iter().zip(Bucket::ALL);
        let mut cells = stores.filter(|(_, bucket)| **bucket == self.bucket);
        let (cell, _) = cells.next().ok_or_else(|| {
            Fault::new(Code::Internal, format!("there is no bucket {}", self.bucket.name()))
        })?;
        cell.get_or_try_init(|| self.bus.jetstream().get_key_value(self.bucket.name()))
            .await
            .map_err(|error| self.failed("", &error))
    }

    fn encode(&self, key: &str, value: &T) -> Result<Bytes, Fault> {
        let not_json = |error| {
            Fault::new(
                Code::Internal,
                format!("{}/{key} cannot be written as JSON: {error}", self.bucket.name()),
            )
        };
        let body = if self.sealing.is_none() {
            serde_json::to_vec(value).map_err(not_json)?
        } else {
            let mut value = serde_json::to_value(value).map_err(not_json)?;
            self.seal(key, &mut value)?;
            value.to_string().into()
        };
        check_depth(format_args!("{}/{key}", self.bucket.name()), &body)?;
        Ok(body.into())
    }

    fn decode(&self, key: &str, body: &[u8]) -> Result<T, Fault> {
        let other_type = |error| {
            Fault::new(
                Code::Internal,
                format!("{}/{key} is of another type: {error}", self.bucket.name()),
            )
        };
        if self.sealing.is_none() {
            return serde_json::from_slice(body).map_err(other_type);
        }
        let mut value = serde_json::from_slice(body).map_err(other_type)?;
        self.open(key, &mut value)?;
        serde_json::from_value(value).map_err(other_type)
    }

    fn failed(&self, key: &str, error: &dyn std::error::Error) -> Fault {
        Fault::new(
            Code::Unavailable,
            format!("bucket {} failed at {key:?}: {error}", self.bucket.name()),
        )
        .with_retry_after_ms(500)
    }
}

/// Whether the entry says that its key was removed, by a caller or by its age.
fn is_gone(entry: &StreamMessage) -> bool {
    entry.headers.get(OPERATION).is_some() || entry.headers.get("Nats-Marker-Reason").is_some()
}

fn is_by(entry: &StreamMessage, id: &MessageId) -> bool {
    let header = entry.headers.get(async_nats::header::NATS_MESSAGE_ID);
    header.is_some_and(|header| header.as_str() == id.as_str())
}
