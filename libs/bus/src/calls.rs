//! Work for tasks of executions: stopped when its answer is not wanted any more.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::{Stream as Items, StreamExt};
use muster_contracts::workflow::v1::{CallCancelled, GetCallRequest};
use muster_contracts::{Code, Fault};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::{debug, warn};

use crate::{Bus, Delivery};

/// How long a cancellation is remembered: a command may come behind it.
const KEPT: TimeDelta = TimeDelta::minutes(10);
/// How many cancellations are remembered.
const KEPT_MOST: usize = 100_000;
/// A command older than this is asked about: its cancellation may be forgotten.
const FRESH: TimeDelta = TimeDelta::minutes(5);
/// How far the clocks of the server and of this process may differ.
const SKEW: TimeDelta = TimeDelta::seconds(2);
const PAUSE: Duration = Duration::from_secs(1);

/// What this process does for tasks. Every replica hears which calls are cancelled ([`OpenCalls::listen`]) and stops its work for them. Cheap to clone.
///
/// Work begins with [`OpenCalls::begin`], or, where a command waited in a stream before, with [`OpenCalls::begin_delivered`]: what was cancelled meanwhile does not begin.
#[derive(Clone)]
pub struct OpenCalls {
    bus: Bus,
    known: Arc<Mutex<Known>>,
}

/// Execution and task.
type Key = (String, String);

#[derive(Default)]
struct Known {
    running: HashMap<Key, Running>,
    cancelled: HashSet<Key>,
    /// The cancelled calls in the order in which they were heard.
    order: VecDeque<(DateTime<Utc>, Key)>,
    /// Since when every cancellation is heard; none while the connection is down.
    hearing_since: Option<DateTime<Utc>>,
}

struct Running {
    token: CancellationToken,
    /// How many pieces of work share it: an agent and its tools are one task.
    count: usize,
}

/// A piece of work that runs; it has ended when this is dropped.
pub struct OpenCall {
    calls: OpenCalls,
    key: Key,
    token: CancellationToken,
}

impl OpenCalls {
    /// The calls of the bus's service. One for each process, and [`OpenCalls::listen`] has to run.
    #[must_use]
    pub fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone(), known: Arc::default() }
    }

    /// Hears for ever which calls are cancelled.
    pub async fn listen(self) {
        loop {
            let mut link = self.bus.link();
            let generation = link.borrow_and_update().generation;
            match self.bus.listen::<CallCancelled>().await {
                Ok(events) => {
                    // From here on the server knows the subscription.
                    self.bus.flush().await;
                    self.known().hearing_since = Some(Utc::now());
                    tokio::select! {
                        () = self.hear(events) => {}
                        // What was cancelled before is known to the journal only.
                        () = self.ask_about_all() => {}
                        // A new connection: something may have been missed.
                        _ = link.wait_for(|link| link.generation != generation || !link.up) => {}
                    }
                }
                Err(error) => {
                    warn!(%error, "cancelled calls cannot be heard, will try again");
                    tokio::time::sleep(PAUSE).await;
                }
            }
            self.known().hearing_since = None;
            // The link is back, or the process ends.
            drop(link.wait_for(|link| link.up).await);
        }
    }

    /// Begins work for a task that waits for its answer now. Without an execution nothing will ever cancel it.
    #[must_use]
    pub fn begin(&self, execution_id: &str, task: &str) -> OpenCall {
        let key = (execution_id.to_owned(), task.to_owned());
        let mut known = self.known();
        let is_cancelled = known.cancelled.contains(&key);
        let running = known
            .running
            .entry(key.clone())
            .or_insert_with(|| Running { token: CancellationToken::new(), count: 0 });
        running.count += 1;
        if is_cancelled {
            running.token.cancel();
        }
        OpenCall { calls: self.clone(), key, token: running.token.clone() }
    }

    /// Begins the work of a command. Where it may have been cancelled before this process listened, orchestration is asked.
    ///
    /// # Errors
    /// UNAVAILABLE where orchestration cannot be asked; then the work has to wait.
    pub async fn begin_delivered<M>(
        &self,
        command: &Delivery<M>,
        execution_id: &str,
        task: &str,
    ) -> Result<OpenCall, Fault> {
        let call = self.begin(execution_id, task);
        if !call.is_cancelled() && !self.would_have_heard(command.time, command.attempt) {
            // Rare, and on the heap: every command would have room for it.
            Box::pin(self.ask_about(&call.key)).await?;
        }
        Ok(call)
    }

    /// Whether a cancellation of a command that was stored at this time must have been heard.
    fn would_have_heard(&self, stored: DateTime<Utc>, attempt: u32) -> bool {
        let since = self.known().hearing_since;
        attempt == 1
            && Utc::now() - stored < FRESH
            && since.is_some_and(|since| stored > since + SKEW)
    }

    async fn hear(&self, events: impl Items<Item = CallCancelled> + Send) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            debug!(execution = event.execution_id, task = event.task, "call is cancelled");
            self.cancel((event.execution_id, event.task));
        }
    }

    async fn ask_about_all(&self) {
        let running: Vec<Key> = self.known().running.keys().cloned().collect();
        for key in running {
            while let Err(error) = self.ask_about(&key).await {
                debug!(%error, "whether a call is wanted is not known, will ask again");
                tokio::time::sleep(PAUSE).await;
            }
        }
        std::future::pending::<()>().await;
    }

    async fn ask_about(&self, key: &Key) -> Result<(), Fault> {
        let (execution_id, task) = key.clone();
        if execution_id.is_empty() {
            return Ok(());
        }
        let asked = self.bus.request(&GetCallRequest { execution_id, task }).await?;
        if !asked.wanted {
            self.cancel(key.clone());
        }
        Ok(())
    }

    fn cancel(&self, key: Key) {
        let mut known = self.known();
        if let Some(running) = known.running.get(&key) {
            running.token.cancel();
        }
        let now = Utc::now();
        if known.cancelled.insert(key.clone()) {
            known.order.push_back((now, key));
        }
        known.forget(now);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget(&mut self, now: DateTime<Utc>) {
        while let Some((heard, _)) = self.order.front() {
            if now - *heard < KEPT && self.order.len() <= KEPT_MOST {
                return;
            }
            if let Some((_, key)) = self.order.pop_front() {
                self.cancelled.remove(&key);
            }
        }
    }
}

/// The part of a fault that a call of a cancelled task ends with: [`HeardFirst`].
const CANCELLED: &str = "cancelled";

/// A cancelled task reaches whoever works for it by one event. Who is asked may hear it before who asks, and says so: that is no failure of the task, its cancellation is on the way.
#[derive(Clone, Copy, Debug)]
pub struct HeardFirst;

impl HeardFirst {
    /// How long the event may be on the way to one process behind another.
    const WITHIN: Duration = Duration::from_secs(10);

    /// The details of the fault by which who is asked says it.
    #[must_use]
    pub fn details() -> serde_json::Value {
        serde_json::json!({ CANCELLED: true })
    }

    /// Whether a fault says it.
    #[must_use]
    pub fn is_said(fault: &Fault) -> bool {
        fault.details.get(CANCELLED).and_then(serde_json::Value::as_bool) == Some(true)
    }

    /// Waits until this process hears it: then the work that waits here is dropped. A fault (UNAVAILABLE) where it does not, so that the command comes again, before which orchestration is asked.
    pub async fn wait() -> Fault {
        tokio::time::sleep(Self::WITHIN).await;
        Fault::new(Code::Unavailable, "the task is cancelled, as who was asked for it heard")
    }
}

impl OpenCall {
    /// Whether the answer is not wanted any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the answer is not wanted any more.
    pub fn cancelled(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut known = self.calls.known();
        if let Some(running) = known.running.get_mut(&self.key) {
            running.count -= 1;
            if running.count == 0 {
                known.running.remove(&self.key);
            }
        }
    }
}
