//! Places for requests to providers: so many run at the same time in this process, and who finds none waits for a while.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::error::Error;

/// Places for requests to providers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Slots {
    free: Arc<Semaphore>,
    count: usize,
    wait: Duration,
}

impl Slots {
    pub(crate) fn new(count: usize, wait: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), count, wait }
    }

    /// A place, until it is dropped.
    ///
    /// # Errors
    /// EXHAUSTED where none is free in time.
    pub(crate) async fn take(&self) -> Result<SemaphorePermit<'_>, Error> {
        if let Ok(free) = self.free.try_acquire() {
            return Ok(free);
        }
        match timeout(self.wait, self.free.acquire()).await {
            Ok(free) => Ok(free.context("the places for requests to providers are closed")?),
            Err(_elapsed) => Err(Error::Full { count: self.count, seconds: self.wait.as_secs() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_place_waits_and_is_told_how_many_there_are() {
        let slots = Slots::new(1, Duration::from_secs(30));
        let taken = slots.take().await.unwrap();
        let error = slots.take().await.unwrap_err();
        assert!(error.to_string().contains("MUSTER_MODEL_CONCURRENCY is 1"), "{error}");
        assert_eq!(error.fault().retry_after_ms, Some(1_000));
        let (next, ()) = futures::future::join(slots.take(), async { drop(taken) }).await;
        assert!(next.is_ok());
    }
}
