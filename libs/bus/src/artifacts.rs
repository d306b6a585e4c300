//! Large objects.

use std::time::Duration;

use async_nats::jetstream::object_store::{
    self, GetErrorKind, InfoErrorKind, ObjectMetadata, PutErrorKind,
};
use bytes::Bytes;
use muster_contracts::{Code, Fault, ObjectStore};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::Bus;

/// How long the next piece of an object may take: the pieces of a damaged object never come.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a replica may be behind.
const LAG: Duration = Duration::from_secs(2);

/// What an object says of its size is not believed beyond this before its pieces are there.
const CAREFUL: usize = 16 * 1024 * 1024;

/// The object store of the platform. Objects are kept for 30 days.
#[derive(Clone)]
pub struct Artifacts {
    objects: Objects,
}

impl Bus {
    /// The object store.
    #[must_use]
    pub fn artifacts(&self) -> Artifacts {
        Artifacts { objects: self.objects(ObjectStore::Artifacts) }
    }

    pub(crate) fn objects(&self, store: ObjectStore) -> Objects {
        Objects { bus: self.clone(), store }
    }
}

impl Artifacts {
    /// Stores an object under a name; an older one with this name is replaced.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be written.
    pub async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        self.objects.put(name, &body).await
    }

    /// The object with this name.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        self.objects.get(name, usize::MAX).await
    }

    /// Removes the object with this name.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be written.
    pub async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.objects.delete(name).await
    }
}

/// One object store of the contract.
#[derive(Clone)]
pub(crate) struct Objects {
    bus: Bus,
    store: ObjectStore,
}

impl Objects {
    pub(crate) async fn put(&self, name: &str, body: &[u8]) -> Result<(), Fault> {
        let operation = async {
            let mut rest = body;
            match self.handle().await?.put(ObjectMetadata::from(name), &mut rest).await {
                Ok(_info) => Ok(()),
                // The object is there; what it replaced goes with its age.
                Err(error) if error.kind() == PutErrorKind::PurgeOldChunks => Ok(()),
                Err(error) => Err(self.failed(name, &error)),
            }
        };
        self.bus.unless_down(Box::pin(operation)).await
    }

    /// Stores an object whose name says its content: one that is there already is the same.
    pub(crate) async fn put_once(&self, name: &str, body: &[u8]) -> Result<(), Fault> {
        let there = async {
            match self.handle().await?.info(name).await {
                Ok(info) => Ok(!info.deleted && info.size == body.len()),
                Err(error) if error.kind() == InfoErrorKind::NotFound => Ok(false),
                Err(error) => Err(self.failed(name, &error)),
            }
        };
        if self.bus.unless_down(Box::pin(there)).await? {
            Ok(())
        } else {
            self.put(name, body).await
        }
    }

    /// The object with this name, which has at most `limit` bytes.
    pub(crate) async fn get(&self, name: &str, limit: usize) -> Result<Option<Bytes>, Fault> {
        let started = Instant::now();
        loop {
            match self.read(name, limit).await {
                // The leader knows the object, but its pieces come from any replica, which may have only some of them yet.
                Err(fault) if fault.code == Code::Unavailable && started.elapsed() < LAG => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                read => return read,
            }
        }
    }

    async fn read(&self, name: &str, limit: usize) -> Result<Option<Bytes>, Fault> {
        let operation = async {
            let mut object = match self.handle().await?.get(name).await {
                Ok(object) => object,
                Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(self.failed(name, &error)),
            };
            let size = object.info.size;
            if size > limit {
                let text =
                    format!("object {name:?} has {size} bytes, but must have at most {limit}");
                return Err(Fault::new(Code::Invalid, text));
            }
            let mut body = Vec::with_capacity(size.min(CAREFUL));
            while body.len() < size {
                match tokio::time::timeout(SILENCE, object.read_buf(&mut body)).await {
                    Ok(Ok(0)) => break,
                    Ok(Ok(_more)) => {}
                    Ok(Err(error)) => return Err(self.failed(name, &error)),
                    Err(elapsed) => return Err(self.failed(name, &elapsed)),
                }
            }
            Ok(Some(Bytes::from(body)))
        };
        self.bus.unless_down(Box::pin(operation)).await
    }

    pub(crate) async fn delete(&self, name: &str) -> Result<(), Fault> {
        let operation = async {
            self.handle().await?.delete(name).await.map_err(|error| self.failed(name, &error))
        };
        self.bus.unless_down(Box::pin(operation)).await
    }

    async fn handle(&self) -> Result<&object_store::ObjectStore, Fault> {
        let stores = self.bus.inner.objects.iter().zip(ObjectStore::ALL);
        let mut cells = stores.filter(|(_, store)| **store == self.store);
        let name = self.store.name();
        let (cell, _) = cells.next().ok_or_else(|| {
            Fault::new(Code::Internal, format!("there is no object store {name}"))
        })?;
        cell.get_or_try_init(|| self.bus.jetstream().get_object_store(name))
            .await
            .map_err(|error| self.failed("", &error))
    }

    fn failed(&self, name: &str, error: &dyn std::error::Error) -> Fault {
        let store = self.store.name();
        Fault::new(
            Code::Unavailable,
            format!("object {name:?} of {store} cannot be reached: {error}"),
        )
        .with_retry_after_ms(500)
    }
}
