//! Calls that are made once: the result is recorded before anybody sees it, and a second call with the same key gets it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::Utc;
use muster_contracts::{Code, Fault};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};
use tracing::warn;

use crate::{Bucket, Bus, Kv, KvError, Versioned, id};

/// How long a claim holds without a sign of life of its owner.
const LEASE: Duration = Duration::from_secs(10);
/// How often a waiting call looks whether another process has finished it.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the record of a finished call is tried.
const RECORD_TRIES: u32 = 5;

/// What a call may do when nobody knows how far an earlier try of it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// It is made again: a second time changes nothing, or only costs.
    Safe,
    /// It is not made again. The caller gets CONFLICT and decides.
    Never,
}

/// Calls with a recorded result of type `T`. Cheap to clone; clones share the knowledge of what runs in this process.
///
/// A result is kept for 24 hours. Replicas take turns by a claim in the same record, which its owner renews while it works; clocks may differ by a few seconds.
#[derive(Clone)]
pub struct RecordedCalls<T> {
    records: Kv<Record<T>>,
    service: String,
    lease: Duration,
    running: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum Record<T> {
    /// Somebody makes the call.
    Claimed { owner: String, until_ms: i64 },
    /// The call is made.
    Done { result: T },
    /// The call failed for good.
    Failed { fault: Fault },
}

/// What a look at the record decides.
enum Next<T> {
    Finished(Result<(T, bool), Fault>),
    Call { revision: u64 },
    Wait,
}

impl<T> RecordedCalls<T>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    /// The recorded calls of the bus's service.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        Self {
            records: bus.kv(Bucket::Results),
            service: bus.service().to_owned(),
            lease: LEASE,
            running: Arc::default(),
        }
    }

    /// The same with another lease: how long a call waits for one whose process has ended.
    #[must_use]
    pub fn with_lease(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// Makes the call, or returns what an earlier call with this key returned; then the second value is true.
    ///
    /// A failed call with [`Repeat::Safe`] leaves no trace. With [`Repeat::Never`] its fault is recorded like a result, except EXHAUSTED and UNAVAILABLE, which such a call returns
    /// only where it has done nothing.
    ///
    /// # Errors
    /// The fault of the call; CONFLICT for an interrupted call with [`Repeat::Never`]; UNAVAILABLE where the record cannot be read or written.
    pub async fn run<F>(
        &self,
        key: &str,
        repeat: Repeat,
        call: impl FnOnce() -> F + Send,
    ) -> Result<(T, bool), Fault>
    where
        F: Future<Output = Result<T, Fault>> + Send,
    {
        let name = self.name(key);
        let turn = Turn::new(self.running.clone(), name.clone());
        let _turn = turn.lock.lock().await;
        loop {
            match self.look(&name, key, repeat).await? {
                Next::Finished(result) => return result,
                Next::Wait => sleep(LOOK_EVERY).await,
                Next::Call { revision } => {
                    let claim = Claim { calls: self, name: &name, revision };
                    return claim.make(repeat, call()).await;
                }
            }
        }
    }

    /// Keys come from outside and may have any characters.
    fn name(&self, key: &str) -> String {
        format!("{}/{}", self.service, id::hex(&Sha256::digest(key.as_bytes()), 20))
    }

    async fn look(&self, name: &str, key: &str, repeat: Repeat) -> Result<Next<T>, Fault> {
        let claimed = match self.records.get(name).await? {
            None => self.records.create(name, &self.claim()).await,
            Some(Versioned { value: Record::Done { result }, .. }) => {
                return Ok(Next::Finished(Ok((result, true))));
            }
            Some(Versioned { value: Record::Failed { fault }, .. }) => {
                return Ok(Next::Finished(Err(fault)));
            }
            Some(Versioned { value: Record::Claimed { until_ms, .. }, .. })
                if until_ms > Utc::now().timestamp_millis() =>
            {
                return Ok(Next::Wait);
            }
            Some(Versioned { value: Record::Claimed { owner, .. }, .. })
                if repeat == Repeat::Never =>
            {
                return Ok(Next::Finished(Err(interrupted(key, &owner))));
            }
            Some(Versioned { revision, .. }) => {
                self.records.update(name, &self.claim(), revision).await
            }
        };
        match claimed {
            Ok(revision) => Ok(Next::Call { revision }),
            Err(KvError::Conflict) => Ok(Next::Wait),
            Err(KvError::Fault(fault)) => Err(fault),
        }
    }

    fn claim(&self) -> Record<T> {
        let lease = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        Record::Claimed {
            owner: format!("{} (process {})", self.service, std::process::id()),
            until_ms: Utc::now().timestamp_millis().saturating_add(lease),
        }
    }
}

/// A call that this task has to make.
struct Claim<'a, T> {
    calls: &'a RecordedCalls<T>,
    name: &'a str,
    revision: u64,
}

impl<T> Claim<'_, T>
where
    T: Serialize + DeserializeOwned + Clone + Send + Sync + 'static,
{
    async fn make(
        mut self,
        repeat: Repeat,
        call: impl Future<Output = Result<T, Fault>> + Send,
    ) -> Result<(T, bool), Fault> {
        let mut call = std::pin::pin!(call);
        let every = self.calls.lease / 3;
        let mut clock = tokio::time::interval_at(Instant::now() + every, every);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut call => break result,
                _ = clock.tick() => self.renew().await?,
            }
        };
        match result {
            Ok(result) => self.record(Record::Done { result }).await,
            Err(fault)
                if repeat == Repeat::Safe
                    || matches!(fault.code, Code::Exhausted | Code::Unavailable) =>
            {
                self.release().await;
                Err(fault)
            }
            Err(fault) => self.record(Record::Failed { fault }).await,
        }
    }

    /// A claim that another has taken is a call that must not go on: its result could not be recorded.
    async fn renew(&mut self) -> Result<(), Fault> {
        match self.calls.records.update(self.name, &self.calls.claim(), self.revision).await {
            Ok(revision) => self.revision = revision,
            Err(KvError::Conflict) => {
                return Err(Fault::new(
                    Code::Unavailable,
                    "another process has taken the call over",
                )
                .with_retry_after_ms(500));
            }
            // The next renewal may work, and if none does, nobody else can claim it either.
            Err(KvError::Fault(fault)) => warn!(error = %fault, "claim could not be renewed"),
        }
        Ok(())
    }

    async fn record(&self, record: Record<T>) -> Result<(T, bool), Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.calls.records.update(self.name, &record, self.revision).await {
                Ok(_revision) => return outcome(record, false),
                // Ours, when the acknowledgement of an earlier try was lost; else that of the process that took over.
                Err(KvError::Conflict) => return self.recorded().await,
                Err(KvError::Fault(fault)) if tries < RECORD_TRIES => {
                    warn!(error = %fault, tries, "result could not be recorded, will try again");
                    sleep(LOOK_EVERY * tries).await;
                }
                Err(KvError::Fault(fault)) => return Err(fault),
            }
        }
    }

    async fn recorded(&self) -> Result<(T, bool), Fault> {
        let record = self.calls.records.get(self.name).await?.map(|record| record.value);
        outcome(record.unwrap_or_else(|| self.calls.claim()), true)
    }

    /// Lets the next try begin at once instead of after the lease.
    async fn release(&self) {
        if let Err(error) = self.calls.records.delete(self.name).await {
            warn!(%error, "claim could not be released, the next try waits for its end");
        }
    }
}

fn outcome<T>(record: Record<T>, replayed: bool) -> Result<(T, bool), Fault> {
    match record {
        Record::Done { result } => Ok((result, replayed)),
        Record::Failed { fault } => Err(fault),
        Record::Claimed { owner, .. } => Err(Fault::new(
            Code::Unavailable,
            format!("{owner} has taken the call over and is still at it"),
        )
        .with_retry_after_ms(500)),
    }
}

fn interrupted(key: &str, owner: &str) -> Fault {
    let text = format!(
        "interrupted: the call with the key {key:?} was begun by {owner}, which ended before it said how it went; not repeated because its effect class is once"
    );
    Fault::new(Code::Conflict, text)
        .with_details(serde_json::json!({ "interrupted": true, "idempotency_key": key }))
}

/// One call of this process at a time for a key. Forgets the key with the last of them.
struct Turn {
    running: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    name: String,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Turn {
    fn new(
        running: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
        name: String,
    ) -> Self {
        let lock = running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(name.clone())
            .or_default()
            .clone();
        Self { running, name, lock }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and ours: nobody else waits.
        if Arc::strong_count(&self.lock) <= 2 {
            running.remove(&self.name);
        }
    }
}
