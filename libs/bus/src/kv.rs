//! Typed key-value buckets with compare-and-set.

use std::marker::PhantomData;

use async_nats::jetstream::kv::{self, CreateErrorKind, Store, UpdateErrorKind};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use muster_contracts::{Bucket, Code, Fault};
use serde::{Serialize, de::DeserializeOwned};

use crate::Bus;

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
    /// The key is there already, or has another revision.
    #[error("the key has changed")]
    Conflict,
    /// Nothing can be said about the key.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A bucket whose values are `T` as JSON.
#[derive(Clone)]
pub struct Kv<T> {
    bus: Bus,
    bucket: Bucket,
    value: PhantomData<fn() -> T>,
}

impl Bus {
    /// A bucket with values of this type. A key has letters, digits and `-/_=.` only.
    #[must_use]
    pub fn kv<T: Serialize + DeserializeOwned>(&self, bucket: Bucket) -> Kv<T> {
        Kv { bus: self.clone(), bucket, value: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// The value of a key.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read, INTERNAL where the value is of another type.
    pub async fn get(&self, key: &str) -> Result<Option<Versioned<T>>, Fault> {
        let entry = self
            .bus
            .unless_down(async {
                self.store().await?.entry(key).await.map_err(|error| self.failed(key, &error))
            })
            .await?;
        match entry {
            Some(entry) if entry.operation == kv::Operation::Put => Ok(Some(Versioned {
                value: self.decode(key, &entry.value)?,
                revision: entry.revision,
            })),
            _ => Ok(None),
        }
    }

    /// Sets a key, whatever it was. Returns its revision.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub async fn put(&self, key: &str, value: &T) -> Result<u64, Fault> {
        let body = self.encode(key, value)?;
        self.bus
            .unless_down(async {
                self.store().await?.put(key, body).await.map_err(|error| self.failed(key, &error))
            })
            .await
    }

    /// Sets a key that is not there. Returns its revision.
    ///
    /// # Errors
    /// [`KvError::Conflict`] where it is there.
    pub async fn create(&self, key: &str, value: &T) -> Result<u64, KvError> {
        let body = self.encode(key, value)?;
        let operation = async {
            Ok(match self.store().await?.create(key, body).await {
                Ok(revision) => Ok(revision),
                Err(error) if error.kind() == CreateErrorKind::AlreadyExists => {
                    Err(KvError::Conflict)
                }
                Err(error) => Err(KvError::Fault(self.failed(key, &error))),
            })
        };
        self.bus.unless_down(operation).await?
    }

    /// Sets a key that has this revision. Returns the new one.
    ///
    /// # Errors
    /// [`KvError::Conflict`] where it has another.
    pub async fn update(&self, key: &str, value: &T, revision: u64) -> Result<u64, KvError> {
        let body = self.encode(key, value)?;
        let operation = async {
            Ok(match self.store().await?.update(key, body, revision).await {
                Ok(revision) => Ok(revision),
                Err(error)
                    if error.kind() == UpdateErrorKind::WrongLastRevision
                        || error.to_string().contains("10164") =>
                {
                    Err(KvError::Conflict)
                }
                Err(error) => Err(KvError::Fault(self.failed(key, &error))),
            })
        };
        self.bus.unless_down(operation).await?
    }

    /// Removes a key.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be written.
    pub async fn delete(&self, key: &str) -> Result<(), Fault> {
        self.bus
            .unless_down(async {
                self.store().await?.delete(key).await.map_err(|error| self.failed(key, &error))
            })
            .await
    }

    /// The keys that begin with `prefix`, in their order.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub async fn keys(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let operation = async {
            let keys =
                self.store().await?.keys().await.map_err(|error| self.failed(prefix, &error))?;
            keys.try_filter(|key| std::future::ready(key.starts_with(prefix)))
                .boxed()
                .try_collect::<Vec<_>>()
                .await
                .map_err(|error| self.failed(prefix, &error))
        };
        let mut keys = self.bus.unless_down(operation).await?;
        keys.sort();
        Ok(keys)
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
        serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
            Fault::new(
                Code::Internal,
                format!("{}/{key} cannot be written as JSON: {error}", self.bucket.name()),
            )
        })
    }

    fn decode(&self, key: &str, body: &[u8]) -> Result<T, Fault> {
        serde_json::from_slice(body).map_err(|error| {
            Fault::new(
                Code::Internal,
                format!("{}/{key} is of another type: {error}", self.bucket.name()),
            )
        })
    }

    fn failed(&self, key: &str, error: &dyn std::error::Error) -> Fault {
        Fault::new(
            Code::Unavailable,
            format!("bucket {} failed at {key:?}: {error}", self.bucket.name()),
        )
        .with_retry_after_ms(500)
    }
}
