//! Who may spend how much and ask how often, over all replicas.
//!
//! Each owner of a budget or a limit has an account: one value in the bucket `BUDGETS`, changed by compare-and-set only. What waits for the same account is written as one change.

mod account;
mod admission;
mod gate;
mod headers;
mod ledger;
mod owner;
mod settings;
mod window;

pub(crate) use self::account::{Limits, Period};
pub(crate) use self::admission::{Admission, Charged};
pub(crate) use self::gate::{Caller, Gate, Quote};
pub(crate) use self::headers::warning;
pub(crate) use self::ledger::{Ledger, Recorded, Work, ledger};
pub(crate) use self::owner::{Owner, token};
pub(crate) use self::settings::Settings;
