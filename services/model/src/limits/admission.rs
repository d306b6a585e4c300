//! What a request that was let in has reserved, from its admission to its settlement.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::account::{Change, Limits};
use super::ledger::{Hold, Ledger};
use super::owner::Owner;
use crate::money::Bill;

/// Whose accounts were charged for a request. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charged(Arc<Mutex<Vec<Owner>>>);

impl Charged {
    fn owners(&self) -> MutexGuard<'_, Vec<Owner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self) -> Vec<Owner> {
        std::mem::take(&mut self.owners())
    }
}

/// What a request that was let in has reserved. When this is dropped, what the bill says is charged, and the rest is free again.
#[derive(Default)]
pub(crate) struct Admission {
    holds: Vec<(Hold, Limits)>,
    /// Whose tokens were counted, before anybody knew how many they are.
    counted: Vec<(Ledger, Owner)>,
    tokens: u64,
    /// The idempotency key under which the reply is recorded; empty: it is not.
    pub(super) key: String,
    granted: Mutex<Option<u64>>,
    charged: Charged,
    pub(crate) bill: Bill,
}

impl Admission {
    pub(super) fn new(key: &str, tokens: u64, charged: Charged) -> Self {
        let mut new = Self::default();
        key.clone_into(&mut new.key);
        (new.tokens, new.charged) = (tokens, charged);
        new
    }

    pub(super) fn hold(&mut self, hold: Hold, limits: Limits) {
        self.holds.push((hold, limits));
    }

    pub(super) fn count(&mut self, ledger: &Ledger, owner: &Owner) {
        self.counted.push((ledger.clone(), owner.clone()));
    }

    pub(super) fn holds(&self) -> &[(Hold, Limits)] {
        &self.holds
    }

    /// What was reserved, in billionths of a US dollar: all that is asked for the request must not cost more. Nothing where no budget applies, or nobody knows the price.
    pub(crate) fn granted(&self) -> Option<u64> {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn grant(&self, granted: Option<u64>) {
        *self.granted.lock().unwrap_or_else(PoisonError::into_inner) = granted;
    }

    /// What of it is not yet spent.
    pub(crate) fn left(&self) -> Option<u64> {
        self.granted().map(|granted| granted.saturating_sub(self.bill.cost()))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let (cost, used) = self.bill.sums();
        for (hold, _) in self.holds.drain(..) {
            // Without a cost it is released.
            if cost > 0 {
                self.charged.owners().push(hold.owner().clone());
                hold.settle(cost);
            }
        }
        for (ledger, owner) in self.counted.drain(..) {
            ledger.tell(&owner, Change::Tokens { reserved: self.tokens, used });
        }
    }
}
