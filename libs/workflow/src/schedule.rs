//! When a workflow starts by itself.

mod cron;
mod trigger;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub(crate) use self::cron::Cron;
pub use self::trigger::{Gathered, Trigger};
use crate::event::Strategy;

/// What a document says under `schedule`.
#[derive(Debug)]
pub(crate) enum Plan {
    Every(Duration),
    Cron(Cron),
    After(Duration),
    On(Strategy),
}

/// When a workflow starts by itself.
#[derive(Debug, Clone, Copy)]
pub enum Schedule<'d> {
    /// At times that are known: `every` and `cron`.
    Times(Times<'d>),
    /// So long after its last execution by the schedule has ended: `after`.
    After(Duration),
    /// When events have come: `on`.
    Events(Trigger<'d>),
}

/// Times that follow each other for ever.
#[derive(Debug, Clone, Copy)]
pub struct Times<'d>(&'d Plan);

impl<'d> Schedule<'d> {
    pub(crate) fn of(plan: &'d Plan) -> Schedule<'d> {
        match plan {
            Plan::Every(_) | Plan::Cron(_) => Schedule::Times(Times(plan)),
            Plan::After(pause) => Schedule::After(*pause),
            Plan::On(strategy) => Schedule::Events(Trigger::new(strategy)),
        }
    }
}

impl Times<'_> {
    /// The first time after `after`. `since` is when the schedule began: an interval is counted
    /// from there. `None` where no time comes any more, in the year 9999.
    pub fn next(self, since: DateTime<Utc>, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self.0 {
            Plan::Cron(cron) => cron.next(after),
            Plan::Every(interval) => {
                let interval = i64::try_from(interval.as_millis()).ok().filter(|each| *each > 0)?;
                let passed = (after - since).num_milliseconds();
                let count = passed.div_euclid(interval).max(0).checked_add(1)?;
                since.checked_add_signed(chrono::Duration::try_milliseconds(
                    interval.checked_mul(count)?,
                )?)
            }
            Plan::After(_) | Plan::On(_) => None,
        }
    }
}
