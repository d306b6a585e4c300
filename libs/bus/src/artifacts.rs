//! Large objects.

use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use bytes::Bytes;
use muster_contracts::{Code, Fault};
use tokio::io::AsyncReadExt;

use crate::Bus;

pub(crate) const STORE: &str = "ARTIFACTS";
/// Longer than a message that names an object may wait for its consumer.
pub(crate) const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// The object store of the platform. Objects are kept for 30 days.
#[derive(Clone)]
pub struct Artifacts {
    bus: Bus,
}

impl Bus {
    /// The object store.
    #[must_use]
    pub fn artifacts(&self) -> Artifacts {
        Artifacts { bus: self.clone() }
    }
}

impl Artifacts {
    /// Stores an object under a name; an older one with this name is replaced.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be written.
    pub async fn put(&self, name: &str, body: Bytes) -> Result<(), Fault> {
        let operation = async {
            self.store()
                .await?
                .put(name, &mut body.as_ref())
                .await
                .map_err(|error| failed(name, &error))
        };
        self.bus.unless_down(operation).await.map(|_info| ())
    }

    /// The object with this name.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Bytes>, Fault> {
        let operation = async {
            let mut object = match self.store().await?.get(name).await {
                Ok(object) => object,
                Err(error) if error.kind() == GetErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(failed(name, &error)),
            };
            let mut body = Vec::new();
            object.read_to_end(&mut body).await.map_err(|error| failed(name, &error))?;
            Ok(Some(Bytes::from(body)))
        };
        self.bus.unless_down(operation).await
    }

    /// Removes the object with this name.
    ///
    /// # Errors
    /// UNAVAILABLE where the store cannot be written.
    pub async fn delete(&self, name: &str) -> Result<(), Fault> {
        self.bus
            .unless_down(async {
                self.store().await?.delete(name).await.map_err(|error| failed(name, &error))
            })
            .await
    }

    async fn store(&self) -> Result<&ObjectStore, Fault> {
        self.bus
            .inner
            .objects
            .get_or_try_init(|| self.bus.jetstream().get_object_store(STORE))
            .await
            .map_err(|error| failed(STORE, &error))
    }
}

fn failed(name: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Code::Unavailable, format!("artifact {name:?} cannot be reached: {error}"))
        .with_retry_after_ms(500)
}
