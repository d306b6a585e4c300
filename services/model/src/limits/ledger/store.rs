//! Reading and writing accounts: by compare-and-set, and many changes as one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use muster_bus::{Kv, KvError, Versioned};
use muster_contracts::Fault;
use tokio::time::sleep;
use tracing::debug;

use super::super::account::{Account, Change, Clock, Outcome};
use super::super::owner::Owner;
use super::{Answer, Ask, Hold, Ledger};

/// The longest pause before an account is tried again that another replica has changed.
const PAUSE: Duration = Duration::from_millis(4);
/// An account of an execution is forgotten when nothing was done with it for so long.
const FORGOTTEN: TimeDelta = TimeDelta::days(7);

/// The accounts in their bucket.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) accounts: Kv<Account>,
    pub(super) lease_ms: i64,
    pub(super) ledger: Ledger,
    pub(super) writer: Arc<Writer>,
}

/// This process, as the accounts remember it.
pub(super) struct Writer {
    name: String,
    writes: AtomicU64,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { name: format!("{:016x}", rand::random::<u64>()), writes: AtomicU64::new(0) }
    }

    /// The number of the next write.
    fn next(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl Store {
    pub(super) fn clock(&self) -> Clock {
        Clock { now: Utc::now(), lease_ms: self.lease_ms }
    }

    /// Applies what is asked, and writes it where that changes the account. Those who ask are answered when it is written; where it cannot be, they come back.
    ///
    /// A write of which nobody knows whether it came through may have. The asks in it bear its number then, and are in every further write of the account by this process: where the account has
    /// that write or a later one, they are done. As all writes are by compare-and-set, none of the earlier ones can still come through behind a later one.
    pub(super) async fn write(
        &self,
        owner: &Owner,
        known: Option<Versioned<Account>>,
        mut asks: Vec<Ask>,
    ) -> (Vec<Ask>, Result<Versioned<Account>, Fault>) {
        let (name, number) = (owner.account(), self.writer.next());
        let mut known = known;
        // A refusal must not rest on what another replica has changed since.
        let mut is_fresh = false;
        loop {
            let before = match known.take() {
                Some(known) => known,
                None => {
                    is_fresh = true;
                    match self.read(&name).await {
                        Ok(read) => read,
                        Err(fault) => return (asks, Err(fault)),
                    }
                }
            };
            let mut account = before.value.clone();
            let clock = self.clock();
            let outcomes: Vec<Outcome> = asks
                .iter()
                .map(|ask| match &ask.change {
                    Some(change) if !self.has(&before.value, ask) => account.apply(change, clock),
                    _ => Outcome::Done,
                })
                .collect();
            let revision = if account == before.value {
                if !is_fresh {
                    continue;
                }
                before.revision
            } else {
                account.sign(&self.writer.name, number, clock);
                match self.replace(&name, &account, before.revision).await {
                    Ok(revision) => revision,
                    Err(KvError::Conflict) => {
                        debug!(account = name, "account was changed by another, will try again");
                        sleep(PAUSE.mul_f64(rand::random())).await;
                        continue;
                    }
                    Err(KvError::Fault(fault)) => {
                        for ask in &mut asks {
                            ask.unsure.get_or_insert(number);
                        }
                        return (asks, Err(fault));
                    }
                }
            };
            let account = Arc::new(account);
            for (ask, outcome) in asks.into_iter().zip(outcomes) {
                let Some(answer) = ask.answer else { continue };
                let hold = self.hold(owner, ask.change.as_ref(), &outcome);
                drop(answer.send(Ok(Answer { outcome, account: account.clone(), hold })));
            }
            let value = Arc::unwrap_or_clone(account);
            return (Vec::new(), Ok(Versioned { value, revision }));
        }
    }

    /// Whether an earlier write, of which nobody knew, has brought this into the account.
    fn has(&self, account: &Account, ask: &Ask) -> bool {
        ask.unsure.is_some_and(|number| account.is_written(&self.writer.name, number))
    }

    fn hold(&self, owner: &Owner, change: Option<&Change>, outcome: &Outcome) -> Option<Hold> {
        match change {
            Some(Change::Reserve { id, limits, .. })
                if limits.budget > 0 && outcome.is_admitted() =>
            {
                Some(Hold::new(&self.ledger, owner, id))
            }
            _ => None,
        }
    }

    async fn read(&self, name: &str) -> Result<Versioned<Account>, Fault> {
        let found = self.accounts.get(name).await?;
        Ok(found.unwrap_or_else(|| Versioned { value: Account::default(), revision: 0 }))
    }

    async fn replace(&self, name: &str, account: &Account, revision: u64) -> Result<u64, KvError> {
        match revision {
            0 => self.accounts.create(name, account).await,
            revision => self.accounts.update(name, account, revision).await,
        }
    }

    /// Forgets accounts of executions that ended long ago: the oldest were written first.
    pub(super) async fn tidy(&self) {
        let mut from = 0;
        loop {
            match self.accounts.next_under("execution", from).await {
                Ok(Some((key, entry))) if entry.value.is_idle_since(Utc::now() - FORGOTTEN) => {
                    if let Err(error) = self.accounts.forget(&key).await {
                        return debug!(%error, "old account could not be forgotten");
                    }
                    from = entry.revision + 1;
                }
                Ok(_) => return,
                Err(error) => return debug!(%error, "old accounts could not be read"),
            }
        }
    }
}
