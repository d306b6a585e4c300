//! Who may ask: the key, the budgets and the limits of a request, before anything is paid.

use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use muster_contracts::gateway::v1::{BudgetExceeded, RateLimitExceeded, RateLimitWarning};
use muster_contracts::{Code, Fault, now};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::account::{Change, Limits, Outcome};
use super::admission::{Admission, Charged};
use super::ledger::Ledger;
use super::owner::Owner;
use crate::error::Error;
use crate::keys::Directory;
use crate::keys::directory::good;
use crate::money::{Telemetry, Told, dollars, shown};

/// How long a provider is left alone whose budget is spent.
const SPENT_FOR_MS: u64 = 60_000;
/// How long an answer waits for what its request has cost to be written.
const SETTLED_WITHIN: Duration = Duration::from_secs(2);

/// Lets requests in. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    directory: Directory,
    ledger: Ledger,
    telemetry: Telemetry,
    /// Whether a model without a price may be asked where a budget applies.
    takes_unpriced: bool,
}

/// A request, as far as it matters who may ask.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Caller<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) key_id: &'a str,
    pub(crate) agent: &'a str,
    pub(crate) execution_id: &'a str,
    /// What the execution, or the run, may spend; 0: no limit.
    pub(crate) budget: u64,
    /// The run that it is the budget of; empty: the execution.
    pub(crate) budget_run: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    pub(crate) idempotency_key: &'a str,
    /// Whether its reply is recorded under the key.
    pub(crate) is_recorded: bool,
    /// Where it is noted whose accounts were charged.
    pub(crate) charged: Option<&'a Charged>,
}

/// Whose budgets and limits a request counts for.
pub(crate) struct Owners(Vec<(Owner, Limits)>);

/// The most that a request may cost and use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quote {
    /// In billionths of a US dollar; nothing where the model has no price.
    pub(crate) cost: Option<u64>,
    /// What it costs with the shortest reply that is worth having: less than `cost` where nobody said how long it may be.
    pub(crate) least: Option<u64>,
    pub(crate) tokens: u64,
}

impl Quote {
    /// With what else is asked beside it: where nobody knows its price, that counts as nothing.
    pub(crate) fn and(self, beside: Option<&Self>) -> Self {
        let Some(beside) = beside else { return self };
        let cost = beside.cost.unwrap_or_default();
        let more = |own: Option<u64>| own.map(|own| own.saturating_add(cost));
        Self {
            cost: more(self.cost),
            least: more(self.least),
            tokens: self.tokens.saturating_add(beside.tokens),
        }
    }
}

impl Gate {
    pub(crate) fn new(
        directory: Directory,
        ledger: Ledger,
        telemetry: Telemetry,
        takes_unpriced: bool,
    ) -> Self {
        Self { directory, ledger, telemetry, takes_unpriced }
    }

    /// Whose budgets and limits a request counts for, where its key is good. Where there is neither key nor allowance, nothing is looked up.
    ///
    /// # Errors
    /// UNAUTHENTICATED for a key that is none, DENIED for a model that it may not use; UNAVAILABLE where that cannot be known.
    pub(crate) async fn check(&self, caller: &Caller<'_>) -> Result<Owners, Fault> {
        self.directory.ready().await?;
        let mut owners = Vec::new();
        let run = match caller.budget_run {
            "" => caller.execution_id,
            run => run,
        };
        if caller.budget > 0 && !run.is_empty() {
            let limits = Limits { budget: caller.budget, ..Limits::default() };
            owners.push((Owner::execution(run), limits));
        }
        if !caller.key_id.is_empty() {
            owners.push(self.of_key(caller).await?);
        }
        if self.directory.has_allowances() {
            for (kind, name) in [("agent", caller.agent), ("tenant", caller.tenant)] {
                owners.extend(self.of_allowance(kind, name));
            }
        }
        owners.retain(|(_, limits)| !limits.is_none());
        Ok(Owners(owners))
    }

    /// Lets a request in, where every budget and limit has room for it.
    ///
    /// # Errors
    /// EXHAUSTED where a budget or limit is reached; UNAVAILABLE where that cannot be known.
    pub(crate) async fn admit(
        &self,
        caller: &Caller<'_>,
        owners: Owners,
        quote: impl FnOnce() -> Quote,
    ) -> Result<Admission, Fault> {
        self.reserve(caller, owners.0, quote).await
    }

    /// The same for one try of the caller's provider and model. A refusal is the provider's: another one may answer.
    ///
    /// # Errors
    /// EXHAUSTED where a budget or limit of the provider or its model is reached; UNAVAILABLE where that cannot be known.
    pub(crate) async fn admit_provider(
        &self,
        caller: &Caller<'_>,
        quote: impl FnOnce() -> Quote,
    ) -> Result<Admission, Error> {
        if !self.directory.has_allowances() {
            return Ok(Admission::default());
        }
        let provider = caller.provider.to_owned();
        let names = [format!("{provider}/{}", caller.model), provider.clone()];
        let owners = names.iter().filter_map(|name| self.of_allowance("provider", name));
        let owners: Vec<(Owner, Limits)> = owners.filter(|(_, limits)| !limits.is_none()).collect();
        self.reserve(caller, owners, quote).await.map_err(|fault| match fault.code {
            Code::Exhausted => Error::Exhausted {
                provider,
                retry_after_ms: fault.retry_after_ms.unwrap_or(SPENT_FOR_MS),
                message: fault.message,
            },
            _ => Error::Bus(fault),
        })
    }

    /// What a further try may cost of what was reserved. Where earlier tries were paid for and too little is left, more is reserved; nothing where no budget applies.
    ///
    /// # Errors
    /// EXHAUSTED where the budget has no room for it; UNAVAILABLE where that cannot be known.
    pub(crate) async fn room(
        &self,
        caller: &Caller<'_>,
        admission: &Admission,
        quote: impl FnOnce() -> Quote,
    ) -> Result<Option<u64>, Fault> {
        let Some(left) = admission.left() else { return Ok(None) };
        let quote = quote();
        let Some(cost) = quote.cost else { return Ok(Some(left)) };
        let paid = admission.bill.cost();
        if paid == 0 || left >= cost {
            return Ok(Some(left));
        }
        let least = quote.least.unwrap_or(cost);
        let mut granted = u64::MAX;
        for (hold, limits) in admission.holds() {
            let change = Change::Extend {
                id: hold.id().to_owned(),
                cost: paid.saturating_add(cost),
                least: paid.saturating_add(least),
                key: admission.key.clone(),
                limits: *limits,
            };
            let answer = self.ledger.change(hold.owner(), change).await?;
            if left >= least && !answer.outcome.is_admitted() {
                return Ok(Some(left));
            }
            self.judge(caller, hold.owner(), &answer.outcome, &quote)?;
            granted = granted.min(answer.account.reserved_by(hold.id()).unwrap_or_default());
        }
        admission.grant(Some(granted));
        Ok(admission.left())
    }

    /// Waits until what was charged is written, so that who asks again, wherever that is, finds it. Not for long: what cannot be written now is written later.
    pub(crate) async fn settled(&self, charged: &Charged) {
        let looks = charged.take().into_iter().map(|owner| async move {
            // What is asked of an account is done in its order.
            drop(self.ledger.look(&owner).await);
        });
        drop(timeout(SETTLED_WITHIN, join_all(looks)).await);
    }

    /// Whether anybody counts what a request of these owners may cost.
    pub(crate) fn counts(&self, owners: &Owners) -> bool {
        !owners.0.is_empty() || self.directory.has_allowances()
    }

    /// Whether a model without a price may be asked where this budget applies.
    pub(crate) fn takes(&self, quote: &Quote, admission: &Admission) -> bool {
        quote.cost.is_some() || self.takes_unpriced || admission.granted().is_none()
    }

    async fn of_key(&self, caller: &Caller<'_>) -> Result<(Owner, Limits), Fault> {
        let key = good(self.directory.by_id(caller.key_id).await?)?;
        if !caller.tenant.is_empty() && caller.tenant != key.tenant {
            let text = format!(
                "tenant is {:?}, but the key {} is one of {:?}",
                caller.tenant, caller.key_id, key.tenant
            );
            return Err(Fault::new(Code::Denied, text));
        }
        // What an execution asks is chosen by its workflow and its agents, not by who has the key.
        if caller.execution_id.is_empty() && !key.allows(caller.provider, caller.model) {
            let text =
                format!("the key may not use the model {:?}, only {}", caller.model, key.models());
            return Err(Fault::new(Code::Denied, text));
        }
        Ok((key.owner(), key.limits()))
    }

    fn of_allowance(&self, kind: &str, name: &str) -> Option<(Owner, Limits)> {
        let owner = Owner::of(kind, name).filter(|_| !name.is_empty())?;
        self.directory.limits(&owner).map(|limits| (owner, limits))
    }

    async fn reserve(
        &self,
        caller: &Caller<'_>,
        owners: Vec<(Owner, Limits)>,
        quote: impl FnOnce() -> Quote,
    ) -> Result<Admission, Fault> {
        if owners.is_empty() {
            return Ok(Admission::default());
        }
        let quote = quote();
        if quote.cost.is_none() && !self.takes_unpriced {
            self.check_priced(caller, &owners)?;
        }
        let key = if caller.is_recorded { caller.idempotency_key } else { "" };
        let charged = caller.charged.cloned().unwrap_or_default();
        let mut admission = Admission::new(key, quote.tokens, charged);
        let id = reservation(caller.idempotency_key);
        for (owner, limits) in owners {
            let change = Change::Reserve {
                id: id.clone(),
                cost: quote.cost.unwrap_or_default(),
                least: quote.least.unwrap_or_default(),
                tokens: quote.tokens,
                key: key.to_owned(),
                limits,
            };
            // Where a later owner refuses, the earlier ones get back what they had reserved.
            let answer = self.ledger.change(&owner, change).await?;
            if limits.tokens_per_minute > 0 && answer.outcome.is_admitted() {
                admission.count(&self.ledger, &owner);
            }
            let reserved = answer.reserved();
            if let Some(hold) = answer.hold {
                admission.hold(hold, limits);
            }
            self.judge(caller, &owner, &answer.outcome, &quote)?;
            if quote.cost.is_some() {
                admission.grant([admission.granted(), reserved].into_iter().flatten().min());
            }
        }
        Ok(admission)
    }

    fn check_priced(&self, caller: &Caller<'_>, owners: &[(Owner, Limits)]) -> Result<(), Fault> {
        match owners.iter().find(|(_, limits)| limits.budget > 0) {
            None => Ok(()),
            Some((owner, _)) => Err(Fault::new(
                Code::Denied,
                format!(
                    "the model {:?} of {:?} has no price, so the budget of {owner} cannot be kept: give it one in MUSTER_PRICES_FILE",
                    caller.model, caller.provider
                ),
            )),
        }
    }

    fn judge(
        &self,
        caller: &Caller<'_>,
        owner: &Owner,
        outcome: &Outcome,
        quote: &Quote,
    ) -> Result<(), Fault> {
        let (provider, model) = (caller.provider.to_owned(), caller.model.to_owned());
        let timestamp = now(Utc::now());
        match *outcome {
            Outcome::Done => Ok(()),
            Outcome::Near { requests, tokens } => {
                self.telemetry.tell(Told::LimitNear(RateLimitWarning {
                    provider,
                    model,
                    remaining_requests: requests,
                    remaining_tokens: tokens,
                    owner: owner.to_string(),
                    timestamp,
                }));
                Ok(())
            }
            Outcome::TooOften { what, limit, retry_after_ms } => {
                self.telemetry.tell(Told::LimitReached(RateLimitExceeded {
                    provider,
                    model,
                    retry_after: retry_after_ms as f64 / 1_000.0,
                    owner: owner.to_string(),
                    timestamp,
                }));
                let text = format!(
                    "{owner} has reached its limit of {limit} {what} per minute; there is room in {:.1} s",
                    retry_after_ms as f64 / 1_000.0
                );
                Err(Fault::new(Code::Exhausted, text).with_retry_after_ms(retry_after_ms))
            }
            Outcome::Spent { limit, spent, reserved } => {
                let wanted = quote.least.unwrap_or_default();
                self.telemetry.tell(Told::BudgetSpent(BudgetExceeded {
                    owner: owner.to_string(),
                    limit: dollars(limit),
                    spent: dollars(spent),
                    reserved: dollars(reserved),
                    wanted: dollars(wanted),
                    execution_id: caller.execution_id.to_owned(),
                    tenant: caller.tenant.to_owned(),
                    key_id: caller.key_id.to_owned(),
                    timestamp,
                }));
                Err(spent_fault(owner, limit, spent, reserved, wanted))
            }
        }
    }
}

fn spent_fault(owner: &Owner, limit: u64, spent: u64, reserved: u64, wanted: u64) -> Fault {
    let text = format!(
        "the budget of {owner} is {}, of which {} are spent and {} reserved by calls that run; this one may cost {}",
        shown(limit),
        shown(spent),
        shown(reserved),
        shown(wanted)
    );
    let details = serde_json::json!({
        "owner": owner.to_string(),
        "limit_nanos": limit,
        "spent_nanos": spent,
        "reserved_nanos": reserved,
        "wanted_nanos": wanted,
    });
    let fault = Fault::new(Code::Exhausted, text).with_details(details);
    // Calls that run now mostly cost less than they might.
    if reserved > 0 && spent.saturating_add(wanted) <= limit {
        fault.with_retry_after_ms(1_000)
    } else {
        fault
    }
}

/// The id of a request's reservation: a second try with the same idempotency key is the same one.
fn reservation(idempotency_key: &str) -> String {
    let hash = Sha256::digest(idempotency_key.as_bytes());
    hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
