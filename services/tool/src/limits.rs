//! What a tool may be asked at once and within a time. Calls at once are counted in this process, calls within a time over all replicas.

use std::sync::Arc;

use anyhow::Context;
use chrono::Utc;
use muster_bus::{Bucket, Bus, Kv, KvError};
use muster_contracts::tool::v1::ToolDefinition;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::config::Config;
use crate::domain::rate::{Admission, Rate};
use crate::error::Error;

/// When a call that found all places taken may come again, in milliseconds.
const BUSY_MS: u64 = 250;
/// How often replicas may come in each other's way at one count.
const TRIES: u32 = 16;

/// The limits of a tool, or of all tools of a server together.
pub(crate) struct Limits {
    slots: Semaphore,
    /// Where calls beyond this many are refused; else they wait.
    strict: Option<u32>,
    rate: Option<Counter>,
}

/// What is counted over all replicas.
struct Counter {
    rate: Rate,
    /// In the bucket `RESULTS`, where an old count goes away by itself.
    counts: Kv<Count>,
    key: String,
    /// One call of this process at a time: the others would only meet it there.
    turn: Mutex<()>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Count {
    full_at_us: i64,
}

impl Limits {
    /// Those of the settings.
    pub(crate) fn standard(config: &Config) -> Arc<Self> {
        Arc::new(Self { slots: Semaphore::new(config.concurrency), strict: None, rate: None })
    }

    /// Those of a definition.
    pub(crate) fn of(bus: &Bus, config: &Config, definition: &ToolDefinition) -> Arc<Self> {
        let strict = Some(definition.max_concurrency).filter(|most| *most > 0);
        let slots = strict.map_or(config.concurrency, |most| usize::try_from(most).unwrap_or(1));
        let rate = definition.rate.as_ref().map(|rate| Counter {
            rate: Rate { calls: rate.calls, per_seconds: rate.per_seconds },
            counts: bus.kv(Bucket::Results),
            key: format!("rates/{}", definition.name),
            turn: Mutex::default(),
        });
        Arc::new(Self { slots: Semaphore::new(slots), strict, rate })
    }

    /// Lets a call in, or says when it may come again. The place is taken until the permit is dropped.
    pub(crate) async fn enter(&self, tool: &str) -> Result<SemaphorePermit<'_>, Error> {
        let permit = match self.strict {
            None => self.slots.acquire().await.context("the slots of the tool are closed")?,
            Some(most) => self.slots.try_acquire().map_err(|_none| Error::Exhausted {
                text: format!("the tool {tool} has {most} calls under way, which is its `max_concurrency` in each process of the tool service"),
                retry_after_ms: BUSY_MS,
            })?,
        };
        if let Some(counter) = &self.rate {
            // Few tools have a rate: the others need not carry what counting takes.
            Box::pin(counter.take(tool)).await?;
        }
        Ok(permit)
    }
}

impl Counter {
    async fn take(&self, tool: &str) -> Result<(), Error> {
        let _turn = self.turn.lock().await;
        for _ in 0..TRIES {
            let found = self.counts.get(&self.key).await?;
            let before = found.as_ref().map_or(0, |found| found.value.full_at_us);
            let full_at_us = match self.rate.admit(before, Utc::now().timestamp_micros()) {
                Admission::Now { full_at_us } => full_at_us,
                Admission::After { wait_ms } => return Err(self.exhausted(tool, wait_ms)),
            };
            let count = Count { full_at_us };
            let written = match found {
                Some(found) => self.counts.update(&self.key, &count, found.revision).await,
                None => self.counts.create(&self.key, &count).await,
            };
            match written {
                Ok(_revision) => return Ok(()),
                Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault.into()),
            }
        }
        Err(self.exhausted(tool, BUSY_MS))
    }

    fn exhausted(&self, tool: &str, wait_ms: u64) -> Error {
        let Rate { calls, per_seconds } = self.rate;
        Error::Exhausted {
            text: format!(
                "the tool {tool} may be called {calls} times in {per_seconds} s; the next call may begin in {wait_ms} ms"
            ),
            retry_after_ms: wait_ms,
        }
    }
}
