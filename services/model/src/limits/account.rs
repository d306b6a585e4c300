//! An account: what was spent and reserved, and what its owner did in the last minute. Decides without I/O.

mod writers;

use std::collections::{BTreeMap, VecDeque};

use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use serde::{Deserialize, Serialize};

use self::writers::{REMEMBERED_MS, Writers};
use super::window::Window;

/// How many reservations that others settled are remembered, for their own processes that come late. They are forgotten a day after the last of them.
const SWEPT: usize = 4_096;
/// A limit is near when less than this part of it is left.
const NEAR: u64 = 10;

/// What an owner may spend and do. Zero: as much as it likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// In billionths of a US dollar, within the period.
    pub(crate) budget: u64,
    pub(crate) period: Period,
    pub(crate) requests_per_minute: u32,
    pub(crate) tokens_per_minute: u32,
}

/// How long a budget is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Period {
    #[default]
    Total,
    Day,
    Month,
}

/// A change of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Lets a call begin, if it may.
    /// `cost` is reserved, or what is left of the budget where that is `least` and more.
    Reserve { id: String, cost: u64, least: u64, tokens: u64, key: String, limits: Limits },
    /// A call goes on with a further try: `cost` and `least`, in which the earlier tries have their part, take the place of what it has reserved.
    Extend { id: String, cost: u64, least: u64, key: String, limits: Limits },
    /// A call has ended and was paid for. `live`: its own process says so, and it counts whether or not its reservation is still there.
    Settle { id: String, cost: u64, live: bool },
    /// A call has ended without a cost.
    Release { id: String },
    /// A call still runs.
    Renew { id: String },
    /// What becomes of a reservation whose process has ended: its cost is known from the recorded reply, or it has none.
    Sweep { id: String, cost: Option<u64> },
    /// Less tokens were used than reserved, or more.
    Tokens { reserved: u64, used: u64 },
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// The call may begin, and little is left of the limits.
    Near {
        requests: u64,
        tokens: u64,
    },
    Spent {
        limit: u64,
        spent: u64,
        reserved: u64,
    },
    TooOften {
        what: &'static str,
        limit: u32,
        retry_after_ms: u64,
    },
}

impl Outcome {
    /// Whether the call may begin.
    pub(crate) const fn is_admitted(&self) -> bool {
        matches!(self, Self::Done | Self::Near { .. })
    }
}

/// What a call that runs now may cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) cost: u64,
    /// Without a sign of life until then its process has ended.
    pub(crate) until_ms: i64,
    /// The idempotency key under which the reply is recorded; empty: it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) key: String,
}

/// What was spent and reserved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    #[serde(default)]
    total: u64,
    #[serde(default)]
    day: Dated,
    #[serde(default)]
    month: Dated,
    /// When anything was spent first.
    #[serde(default)]
    since_ms: i64,
    /// When anything was changed last.
    #[serde(default)]
    changed_ms: i64,
    #[serde(default)]
    open: BTreeMap<String, Reservation>,
    /// Reservations that were settled from the record because their processes seemed to have ended.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    swept: VecDeque<String>,
    /// When the last of them was.
    #[serde(default, skip_serializing_if = "is_zero")]
    swept_ms: i64,
    #[serde(default, skip_serializing_if = "Writers::is_empty")]
    writers: Writers,
    #[serde(default)]
    requests: Window,
    #[serde(default)]
    tokens: Window,
}

/// What was spent on one day or in one month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Dated {
    of: String,
    spent: u64,
}

/// The time of a change, and how long reservations last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) now: DateTime<Utc>,
    pub(crate) lease_ms: i64,
}

impl Clock {
    fn ms(self) -> i64 {
        self.now.timestamp_millis()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(ms: &i64) -> bool {
    *ms == 0
}

fn day(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d").to_string()
}

fn month(at: DateTime<Utc>) -> String {
    at.format("%Y-%m").to_string()
}

impl Account {
    /// A process writes this account, as the write `number` of all that it writes.
    pub(crate) fn sign(&mut self, writer: &str, number: u64, clock: Clock) {
        self.writers.sign(writer, number, clock.ms());
        if clock.ms().saturating_sub(self.swept_ms) >= REMEMBERED_MS {
            (self.swept, self.swept_ms) = (VecDeque::new(), 0);
        }
    }

    /// Whether what the process began to write with its write `number`, and has written again with each since, is in the account.
    pub(crate) fn is_written(&self, writer: &str, number: u64) -> bool {
        self.writers.have(writer, number)
    }

    pub(crate) fn apply(&mut self, change: &Change, clock: Clock) -> Outcome {
        let outcome = match change {
            Change::Reserve { id, cost, least, tokens, key, limits } => {
                let outcome = self.admit(id, (*least, *tokens), limits, clock);
                if !outcome.is_admitted() {
                    return outcome;
                }
                self.count(*tokens, limits, clock);
                if limits.budget > 0 {
                    self.open(id, *cost, (key, limits), clock);
                }
                outcome
            }
            Change::Extend { id, cost, least, key, limits } => {
                if let Some(refusal) = self.lacks(id, *least, limits, clock) {
                    return refusal;
                }
                self.open(id, *cost, (key, limits), clock);
                Outcome::Done
            }
            ended if self.end(ended, clock) => Outcome::Done,
            _nothing_changes => return Outcome::Done,
        };
        self.changed_ms = clock.ms();
        outcome
    }

    /// Reserves so much, or what is left of the budget.
    fn open(&mut self, id: &str, cost: u64, (key, limits): (&str, &Limits), clock: Clock) {
        let until_ms = clock.ms() + clock.lease_ms;
        let cost = cost.min(self.left(id, limits, clock));
        self.open.insert(id.to_owned(), Reservation { cost, until_ms, key: key.to_owned() });
    }

    /// A change of a call that was admitted. Returns whether anything is another.
    fn end(&mut self, change: &Change, clock: Clock) -> bool {
        match change {
            Change::Reserve { .. } | Change::Extend { .. } => return false,
            Change::Settle { id, cost, live } => {
                let was_open = self.open.remove(id).is_some();
                let counts = was_open || (*live && !self.swept.contains(id));
                if counts {
                    self.spend(*cost, clock);
                }
                return counts;
            }
            Change::Release { id } => return self.open.remove(id).is_some(),
            Change::Renew { id } => match self.open.get_mut(id) {
                Some(reservation) => reservation.until_ms = clock.ms() + clock.lease_ms,
                None => return false,
            },
            Change::Sweep { id, cost } => return self.sweep(id, *cost, clock),
            Change::Tokens { reserved, used } => {
                self.tokens.advance(clock.ms());
                self.tokens.take_back(reserved.saturating_sub(*used));
                self.tokens.add(used.saturating_sub(*reserved));
            }
        }
        true
    }

    fn count(&mut self, tokens: u64, limits: &Limits, clock: Clock) {
        if limits.requests_per_minute > 0 {
            self.requests.advance(clock.ms());
            self.requests.add(1);
        }
        if limits.tokens_per_minute > 0 {
            self.tokens.advance(clock.ms());
            self.tokens.add(tokens);
        }
    }

    fn admit(
        &self,
        id: &str,
        (cost, tokens): (u64, u64),
        limits: &Limits,
        clock: Clock,
    ) -> Outcome {
        let now = clock.ms();
        let windows = [
            ("requests", limits.requests_per_minute, &self.requests, 1),
            ("tokens", limits.tokens_per_minute, &self.tokens, tokens),
        ];
        let mut left = [u64::MAX; 2];
        let mut near = false;
        for ((what, limit, window, count), left) in windows.into_iter().zip(&mut left) {
            if limit == 0 {
                continue;
            }
            let mut window = window.clone();
            window.advance(now);
            let whole = u64::from(limit);
            // What is larger than the limit itself gets in when nothing else was used.
            let count = count.min(whole);
            let wanted = window.used(now).saturating_add(count);
            if wanted > whole {
                let retry_after_ms = window.wait_ms(now, count, whole);
                return Outcome::TooOften { what, limit, retry_after_ms };
            }
            *left = whole - wanted;
            near |= *left < whole / NEAR;
        }
        if let Some(refusal) = self.lacks(id, cost, limits, clock) {
            return refusal;
        }
        let [requests, tokens] = left;
        if near { Outcome::Near { requests, tokens } } else { Outcome::Done }
    }

    /// The refusal of a call that costs more than is left of the budget, if there is one.
    fn lacks(&self, id: &str, cost: u64, limits: &Limits, clock: Clock) -> Option<Outcome> {
        // A second try of the same call takes the place of the first.
        let own = self.open.get(id).map_or(0, |reservation| reservation.cost);
        let (spent, reserved) =
            (self.spent(limits.period, clock.now), self.reserved().saturating_sub(own));
        let whole = spent.saturating_add(reserved).saturating_add(cost);
        (limits.budget > 0 && whole > limits.budget).then_some(Outcome::Spent {
            limit: limits.budget,
            spent,
            reserved,
        })
    }

    /// What a call may reserve: its own reservation gives way.
    fn left(&self, id: &str, limits: &Limits, clock: Clock) -> u64 {
        let own = self.open.get(id).map_or(0, |reservation| reservation.cost);
        let taken = self.spent(limits.period, clock.now).saturating_add(self.reserved());
        limits.budget.saturating_sub(taken.saturating_sub(own))
    }

    /// What this call has reserved, if it has.
    pub(crate) fn reserved_by(&self, id: &str) -> Option<u64> {
        self.open.get(id).map(|reservation| reservation.cost)
    }

    fn spend(&mut self, cost: u64, clock: Clock) {
        if self.since_ms == 0 {
            self.since_ms = clock.ms();
        }
        self.total = self.total.saturating_add(cost);
        for (dated, of) in [(&mut self.day, day(clock.now)), (&mut self.month, month(clock.now))] {
            if dated.of != of {
                *dated = Dated { of, spent: 0 };
            }
            dated.spent = dated.spent.saturating_add(cost);
        }
    }

    /// Unless its process lives after all, or another one took it over.
    fn sweep(&mut self, id: &str, cost: Option<u64>, clock: Clock) -> bool {
        if self.open.get(id).is_none_or(|open| open.until_ms > clock.ms()) {
            return false;
        }
        self.open.remove(id);
        if let Some(cost) = cost {
            self.spend(cost, clock);
            self.swept_ms = clock.ms();
            self.swept.push_back(id.to_owned());
            if self.swept.len() > SWEPT {
                self.swept.pop_front();
            }
        }
        true
    }

    /// What was spent within the period that this time is in.
    pub(crate) fn spent(&self, period: Period, at: DateTime<Utc>) -> u64 {
        let within = |dated: &Dated, of: String| if dated.of == of { dated.spent } else { 0 };
        match period {
            Period::Total => self.total,
            Period::Day => within(&self.day, day(at)),
            Period::Month => within(&self.month, month(at)),
        }
    }

    /// What calls that run now may cost.
    pub(crate) fn reserved(&self) -> u64 {
        self.open.values().map(|open| open.cost).fold(0, u64::saturating_add)
    }

    /// When the period began that this time is in: of the total, when anything was spent first. Nothing where nothing was spent in it.
    pub(crate) fn since(&self, period: Period, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.spent(period, at) == 0 {
            return None;
        }
        let midnight = |date: NaiveDate| date.and_time(NaiveTime::MIN).and_utc();
        match period {
            Period::Total => DateTime::from_timestamp_millis(self.since_ms),
            Period::Day => Some(midnight(at.date_naive())),
            Period::Month => at.date_naive().with_day(1).map(midnight),
        }
    }

    /// Whether nothing was done with it since then, and nothing is reserved.
    pub(crate) fn is_idle_since(&self, then: DateTime<Utc>) -> bool {
        self.open.is_empty() && self.changed_ms < then.timestamp_millis()
    }

    /// The reservations whose processes gave no sign of life in time.
    pub(crate) fn lapsed(&self, clock: Clock) -> Vec<(String, Reservation)> {
        let open = self.open.iter().filter(|(_, open)| open.until_ms <= clock.ms());
        open.map(|(id, open)| (id.clone(), open.clone())).collect()
    }
}

impl Period {
    /// `total`, `day` or `month`; empty is `total`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "total" => Some(Self::Total),
            "day" => Some(Self::Day),
            "month" => Some(Self::Month),
            _ => None,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

impl Limits {
    /// Whether there is any.
    pub(crate) const fn is_none(&self) -> bool {
        self.budget == 0 && self.requests_per_minute == 0 && self.tokens_per_minute == 0
    }
}

#[cfg(test)]
mod tests;
