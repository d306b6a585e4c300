//! Reading and writing accounts: by compare-and-set, and many changes as one.

use std::sync::Arc;
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
}

impl Store {
    pub(super) fn clock(&self) -> Clock {
        Clock { now: Utc::now(), lease_ms: self.lease_ms }
    }

    /// Applies what is asked, and writes it where that changes the account. Those who ask are answered when it is written; where it cannot be, they come back.
    pub(super) async fn write(
        &self,
        owner: &Owner,
        known: Option<Versioned<Account>>,
        asks: Vec<Ask>,
    ) -> (Vec<Ask>, Result<Versioned<Account>, Fault>) {
        let name = owner.account();
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
                    Some(change) => account.apply(change, clock),
                    None => Outcome::Done,
                })
                .collect();
            let revision = if account == before.value {
                if !is_fresh {
                    continue;
                }
                before.revision
            } else {
                match self.replace(&name, &account, before.revision).await {
                    Ok(revision) => revision,
                    Err(KvError::Conflict) => {
                        debug!(account = name, "account was changed by another, will try again");
                        sleep(PAUSE.mul_f64(rand::random())).await;
                        continue;
                    }
                    Err(KvError::Fault(fault)) => return (asks, Err(fault)),
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
