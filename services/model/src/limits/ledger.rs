//! The accounts in their bucket: every change by compare-and-set, and all changes that wait for an account as one.

mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use muster_bus::{Bucket, Bus, Versioned};
use muster_contracts::{Code, Fault};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::store::{Store, Writer};
use super::account::{Account, Change, Outcome};
use super::owner::Owner;

/// Accounts that are remembered while nobody uses them: a look at one costs a round trip.
const REMEMBERED: usize = 10_000;
/// How many changes are written at once.
const TOGETHER: usize = 4_096;
/// How long a settlement is tried while the bucket cannot be written. An account remembers far longer what was written of it.
const SETTLE_FOR: Duration = Duration::from_secs(600);
const SETTLE_PAUSE: Duration = Duration::from_secs(1);
/// How long it is waited for a recorded reply of a call that may still run.
const LOOK: Duration = Duration::from_secs(2);
const TIDY_EVERY: Duration = Duration::from_secs(3_600);

/// What a recorded reply cost; nothing where there is none, an error where nobody knows yet.
pub(crate) type Recorded =
    Arc<dyn Fn(String) -> BoxFuture<'static, Result<Option<u64>, Fault>> + Send + Sync>;

/// The accounts. Cheap to clone; [`Work::run`] does what it is told.
#[derive(Clone)]
pub(crate) struct Ledger {
    asks: mpsc::UnboundedSender<Ask>,
    /// The reservations of this process.
    open: Arc<Mutex<Open>>,
    closed: CancellationToken,
}

/// Reservations by owner and id, and when they were made or renewed.
type Open = HashMap<(Owner, String), DateTime<Utc>>;

struct Ask {
    owner: Owner,
    change: Option<Change>,
    answer: Option<oneshot::Sender<Result<Answer, Fault>>>,
    /// When it could not be written for the first time.
    failed: Option<Instant>,
    /// The first write that may have come through with it, although nobody knows.
    unsure: Option<u64>,
}

impl Ask {
    const fn untold(owner: Owner, change: Change) -> Self {
        Self { owner, change: Some(change), answer: None, failed: None, unsure: None }
    }
}

/// What became of a change.
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// The account behind it.
    pub(super) account: Arc<Account>,
    /// What was reserved. Given back where nobody takes the answer.
    pub(crate) hold: Option<Hold>,
}

/// A reservation of this process. Released when it is dropped.
pub(crate) struct Hold {
    ledger: Ledger,
    owner: Owner,
    /// Taken by whoever ends it.
    id: Option<String>,
}

impl Answer {
    /// What was reserved; nothing where no budget applies.
    pub(crate) fn reserved(&self) -> Option<u64> {
        self.account.reserved_by(self.hold.as_ref()?.id.as_ref()?)
    }
}

impl Hold {
    fn new(ledger: &Ledger, owner: &Owner, id: &str) -> Self {
        ledger.open().insert((owner.clone(), id.to_owned()), Utc::now());
        Self { ledger: ledger.clone(), owner: owner.clone(), id: Some(id.to_owned()) }
    }

    pub(super) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Its name in the account.
    pub(super) fn id(&self) -> &str {
        self.id.as_deref().unwrap_or_default()
    }

    /// The call was paid for.
    pub(crate) fn settle(mut self, cost: u64) {
        self.end(|id| Change::Settle { id, cost, live: true });
    }

    fn end(&mut self, change: impl FnOnce(String) -> Change) {
        if let Some(id) = self.id.take() {
            self.ledger.open().remove(&(self.owner.clone(), id.clone()));
            self.ledger.tell(&self.owner, change(id));
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(|id| Change::Release { id });
    }
}

/// The accounts and a task that keeps them.
pub(crate) fn ledger(bus: &Bus, lease: Duration, recorded: Recorded) -> (Ledger, Work) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let ledger = Ledger { asks: sender, open: Arc::default(), closed: CancellationToken::new() };
    let lease_ms = i64::try_from(lease.as_millis()).unwrap_or(i64::MAX);
    let work = Work {
        store: Store {
            accounts: bus.kv(Bucket::Budgets),
            lease_ms,
            ledger: ledger.clone(),
            writer: Arc::new(Writer::new()),
        },
        recorded,
        asks: receiver,
        ledger: ledger.clone(),
        desks: HashMap::new(),
        running: FuturesUnordered::new(),
        lease,
    };
    (ledger, work)
}

impl Ledger {
    /// Changes an account and tells what became of it.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read or written.
    pub(crate) async fn change(&self, owner: &Owner, change: Change) -> Result<Answer, Fault> {
        self.ask(owner, Some(change)).await
    }

    /// Changes an account without waiting. It is tried again for a while; what then is not written, others find by the reservation that lapses.
    pub(crate) fn tell(&self, owner: &Owner, change: Change) {
        self.put(Ask::untold(owner.clone(), change));
    }

    /// The account as it is.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub(crate) async fn look(&self, owner: &Owner) -> Result<Arc<Account>, Fault> {
        self.ask(owner, None).await.map(|answer| answer.account)
    }

    /// Nothing new is taken; [`Work::run`] ends when all is written.
    pub(crate) fn close(&self) {
        self.closed.cancel();
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self, owner: &Owner, change: Option<Change>) -> Result<Answer, Fault> {
        let (sender, receiver) = oneshot::channel();
        let (owner, answer) = (owner.clone(), Some(sender));
        self.put(Ask { owner, change, answer, failed: None, unsure: None });
        let ended = || Fault::new(Code::Unavailable, "the model service stops");
        receiver.await.unwrap_or_else(|_closed| Err(ended().with_retry_after_ms(500)))
    }

    fn put(&self, ask: Ask) {
        // Refused only when the service has stopped; then whoever waits hears so.
        drop(self.asks.send(ask));
    }
}

/// Keeps the accounts.
pub(crate) struct Work {
    store: Store,
    recorded: Recorded,
    asks: mpsc::UnboundedReceiver<Ask>,
    ledger: Ledger,
    desks: HashMap<Owner, Desk>,
    running: FuturesUnordered<BoxFuture<'static, Finished>>,
    lease: Duration,
}

/// What waits for one account.
#[derive(Default)]
struct Desk {
    known: Option<Versioned<Account>>,
    waiting: Vec<Ask>,
    /// What could not be written, and nobody waits for: it is in every write until one of them succeeds.
    failed: Vec<Ask>,
    /// Whether it will be tried again after a pause.
    pausing: bool,
    /// Whether a change of it is on its way.
    busy: bool,
    /// Reservations whose replies are looked up.
    sought: Vec<String>,
}

impl Desk {
    /// Whether it can be forgotten.
    const fn is_idle(&self) -> bool {
        !self.busy && self.waiting.is_empty() && self.failed.is_empty() && self.sought.is_empty()
    }
}

enum Finished {
    Written {
        owner: Owner,
        known: Option<Box<Versioned<Account>>>,
        asks: Vec<Ask>,
        fault: Option<Fault>,
    },
    Looked {
        owner: Owner,
        id: String,
        found: Result<Option<u64>, Fault>,
    },
    /// The pause is over before what could not be written is tried again.
    Again(Owner),
    Tidied,
}

impl Work {
    /// Does what the accounts need until they are closed and everything is written.
    pub(crate) async fn run(mut self) {
        let mut renewal = interval(self.lease / 4);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut tidying = interval(TIDY_EVERY);
        let closed = self.ledger.closed.clone();
        loop {
            tokio::select! {
                Some(ask) = self.asks.recv() => {
                    self.take(ask);
                    // What came at the same time is written together.
                    while let Ok(ask) = self.asks.try_recv() {
                        self.take(ask);
                    }
                    self.begin_all();
                }
                Some(finished) = self.running.next() => self.finish(finished),
                _ = renewal.tick() => self.renew(),
                _ = tidying.tick() => self.tidy(),
                () = closed.cancelled() => break,
            }
        }
        self.asks.close();
        while let Some(ask) = self.asks.recv().await {
            self.take(ask);
        }
        self.begin_all();
        while let Some(finished) = self.running.next().await {
            self.finish(finished);
        }
    }

    fn take(&mut self, ask: Ask) {
        self.desks.entry(ask.owner.clone()).or_default().waiting.push(ask);
    }

    fn begin_all(&mut self) {
        let ready = self.desks.iter().filter(|(_, desk)| !desk.busy && !desk.waiting.is_empty());
        let ready: Vec<Owner> = ready.map(|(owner, _)| owner.clone()).collect();
        for owner in ready {
            self.begin(owner, false);
        }
    }

    /// Writes what waits for the account; `again`: also where only that waits which could not be written.
    fn begin(&mut self, owner: Owner, again: bool) {
        let Some(desk) = self.desks.get_mut(&owner) else { return };
        let has_some = !desk.waiting.is_empty() || again && !desk.failed.is_empty();
        if desk.busy || !has_some {
            return;
        }
        desk.busy = true;
        let mut asks = std::mem::take(&mut desk.failed);
        asks.extend(desk.waiting.drain(..desk.waiting.len().min(TOGETHER)));
        let (store, known) = (self.store.clone(), desk.known.take());
        self.running.push(
            async move {
                let (asks, written) = store.write(&owner, known, asks).await;
                let (known, fault) = match written {
                    Ok(known) => (Some(Box::new(known)), None),
                    Err(fault) => (None, Some(fault)),
                };
                Finished::Written { owner, known, asks, fault }
            }
            .boxed(),
        );
    }

    fn finish(&mut self, finished: Finished) {
        match finished {
            Finished::Written { owner, known, asks, fault } => {
                if let Some(fault) = fault {
                    self.failed(&owner, asks, &fault);
                }
                if let Some(desk) = self.desks.get_mut(&owner) {
                    desk.busy = false;
                    desk.known = known.map(|known| *known);
                }
                self.seek(&owner);
                self.begin(owner, false);
                self.forget();
            }
            Finished::Again(owner) => {
                if let Some(desk) = self.desks.get_mut(&owner) {
                    desk.pausing = false;
                }
                self.begin(owner, true);
            }
            Finished::Tidied => {}
            Finished::Looked { owner, id, found } => {
                if let Some(desk) = self.desks.get_mut(&owner) {
                    desk.sought.retain(|sought| *sought != id);
                }
                match found {
                    Ok(cost) => {
                        warn!(%owner, reservation = id, ?cost, "process ended before it settled what it had reserved");
                        self.take_own(owner, Change::Sweep { id, cost });
                    }
                    // Its call still runs somewhere, or nobody knows: it stays reserved.
                    Err(_unknown) => self.take_own(owner, Change::Renew { id }),
                }
            }
        }
    }

    fn take_own(&mut self, owner: Owner, change: Change) {
        self.take(Ask::untold(owner.clone(), change));
        self.begin(owner, false);
    }

    /// Looks up the replies of reservations whose processes gave no sign of life.
    fn seek(&mut self, owner: &Owner) {
        let Some(desk) = self.desks.get_mut(owner) else { return };
        let Some(known) = &desk.known else { return };
        for (id, reservation) in known.value.lapsed(self.store.clock()) {
            if desk.sought.contains(&id) {
                continue;
            }
            desk.sought.push(id.clone());
            let (owner, recorded) = (owner.clone(), self.recorded.clone());
            self.running.push(
                async move {
                    let found = match reservation.key.is_empty() {
                        true => Ok(None),
                        false => {
                            match tokio::time::timeout(LOOK, recorded(reservation.key)).await {
                                Ok(found) => found,
                                Err(_elapsed) => {
                                    Err(Fault::new(Code::Unavailable, "the call still runs"))
                                }
                            }
                        }
                    };
                    Finished::Looked { owner, id, found }
                }
                .boxed(),
            );
        }
    }

    /// Whoever waits is told; what nobody waits for is tried again.
    fn failed(&mut self, owner: &Owner, asks: Vec<Ask>, fault: &Fault) {
        let Some(desk) = self.desks.get_mut(owner) else { return };
        for mut ask in asks {
            let failed = *ask.failed.get_or_insert_with(Instant::now);
            match ask.answer {
                // What was written after all lapses, and is found to have no reply.
                Some(answer) => {
                    drop(answer.send(Err(fault.clone())));
                }
                // A process that stops does not wait: whoever uses the account next finds what is reserved.
                None if failed.elapsed() < SETTLE_FOR && !self.ledger.closed.is_cancelled() => {
                    desk.failed.push(ask);
                }
                None => warn!(%owner, error = %fault, "what was spent could not be written"),
            }
        }
        if desk.failed.is_empty() || desk.pausing {
            return;
        }
        desk.pausing = true;
        let owner = owner.clone();
        let pause = async move {
            sleep(SETTLE_PAUSE).await;
            Finished::Again(owner)
        };
        self.running.push(pause.boxed());
    }

    fn renew(&mut self) {
        let now = Utc::now();
        let old = TimeDelta::milliseconds(self.store.lease_ms / 2);
        let mut aged = Vec::new();
        for (open, renewed) in self.ledger.open().iter_mut() {
            if now - *renewed > old {
                *renewed = now;
                aged.push(open.clone());
            }
        }
        for (owner, id) in aged {
            self.take_own(owner, Change::Renew { id });
        }
    }

    fn tidy(&mut self) {
        let store = self.store.clone();
        let tidied = async move {
            store.tidy().await;
            Finished::Tidied
        };
        self.running.push(tidied.boxed());
    }

    fn forget(&mut self) {
        if self.desks.len() > REMEMBERED {
            self.desks.retain(|_, desk| !desk.is_idle());
        }
    }
}
