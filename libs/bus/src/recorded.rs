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
use tokio::time::{Instant, MissedTickBehavior, sleep};
use tracing::warn;

use crate::{Bucket, Bus, Kv, KvError, Versioned, id};

/// How long a claim holds without a sign of life of its owner: longer than an election takes (4 to 9 s), during which nothing can be renewed.
const LEASE: Duration = Duration::from_secs(12);
/// How often a claim is renewed within its lease.
const RENEWALS: u32 = 8;
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
        let (name, owner) = (self.name(key), self.owner());
        let turn = Turn::new(self.running.clone(), name.clone());
        let _turn = turn.lock.lock().await;
        loop {
            match self.look(&name, key, repeat, &owner).await? {
                Next::Finished(result) => return result,
                Next::Wait => sleep(LOOK_EVERY).await,
                Next::Call { revision } => {
                    let claim = Claim { calls: self, name: &name, owner: &owner, revision };
                    return claim.make(repeat, call()).await;
                }
            }
        }
    }

    /// Keys come from outside and may have any characters.
    fn name(&self, key: &str) -> String {
        format!("{}/{}", self.service, id::hex(&Sha256::digest(key.as_bytes()), 20))
    }

    async fn look(
        &self,
        name: &str,
        key: &str,
        repeat: Repeat,
        own: &str,
    ) -> Result<Next<T>, Fault> {
        let claimed = match self.records.get(name).await? {
            None => self.records.create(name, &self.claim(own)).await,
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
                self.records.update(name, &self.claim(own), revision).await
            }
        };
        match claimed {
            Ok(revision) => Ok(Next::Call { revision }),
            Err(KvError::Conflict) => Ok(Next::Wait),
            Err(KvError::Fault(fault)) => Err(fault),
        }
    }

    /// Of this call only: a claim whose acknowledgement was lost is known again.
    fn owner(&self) -> String {
        let call = uuid::Uuid::now_v7().simple();
        format!("{} (process {}, call {call})", self.service, std::process::id())
    }

    fn claim(&self, owner: &str) -> Record<T> {
        let lease = i64::try_from(self.lease.as_millis()).unwrap_or(i64::MAX);
        Record::Claimed {
            owner: owner.to_owned(),
            until_ms: Utc::now().timestamp_millis().saturating_add(lease),
        }
    }
}

/// A call that this task has to make.
struct Claim<'a, T> {
    calls: &'a RecordedCalls<T>,
    name: &'a str,
    owner: &'a str,
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
        let every = self.calls.lease / RENEWALS;
        let mut clock = tokio::time::interval_at(Instant::now() + every, every);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                biased;
                result = &mut call => break result,
                _ = clock.tick() => {}
            }
            // The call goes on while its claim is renewed, which may take an election; its result waits until it is known how that went.
            let mut renewal = std::pin::pin!(self.renew());
            let mut result = None;
            loop {
                tokio::select! {
                    biased;
                    renewed = &mut renewal => break renewed?,
                    finished = &mut call, if result.is_none() => result = Some(finished),
                }
            }
            if let Some(result) = result {
                break result;
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
        let claim = self.calls.claim(self.owner);
        let failed = match self.calls.records.update(self.name, &claim, self.revision).await {
            Ok(revision) => {
                self.revision = revision;
                return Ok(());
            }
            Err(KvError::Conflict) => match self.adopt().await {
                Ok(None) => return Ok(()),
                Ok(Some(_other)) => {
                    let text = "another process has taken the call over";
                    return Err(Fault::new(Code::Unavailable, text).with_retry_after_ms(500));
                }
                Err(fault) => fault,
            },
            Err(KvError::Fault(fault)) => fault,
        };
        // The next renewal may work, and if none does, nobody else can claim it either.
        warn!(error = %failed, "claim could not be renewed");
        Ok(())
    }

    async fn record(mut self, record: Record<T>) -> Result<(T, bool), Fault> {
        let mut tries = 0;
        loop {
            tries += 1;
            let failed = match self.calls.records.update(self.name, &record, self.revision).await {
                Ok(_revision) => return outcome(record, false),
                Err(KvError::Conflict) => match self.adopt().await {
                    Ok(None) => continue,
                    // Ours, when the acknowledgement of an earlier try was lost; else that of the process that took over.
                    Ok(Some(other)) => return outcome(other, true),
                    Err(fault) => fault,
                },
                Err(KvError::Fault(fault)) => fault,
            };
            if tries >= RECORD_TRIES {
                return Err(failed);
            }
            warn!(error = %failed, tries, "result could not be recorded, will try again");
            sleep(LOOK_EVERY * tries).await;
        }
    }

    /// After a conflict: nothing where the record is still ours, as a renewal left it whose acknowledgement was lost; else what is recorded.
    async fn adopt(&mut self) -> Result<Option<Record<T>>, Fault> {
        let Some(Versioned { value, revision }) = self.calls.records.get(self.name).await? else {
            return Ok(Some(self.calls.claim("nobody")));
        };
        match value {
            Record::Claimed { owner, .. } if owner == self.owner => {
                self.revision = revision;
                Ok(None)
            }
            other => Ok(Some(other)),
        }
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
