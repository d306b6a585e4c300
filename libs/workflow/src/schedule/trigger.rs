//! Events that start a workflow.

use std::cell::Cell;

use serde_json::Value;

use crate::event::{Interest, Progress, Strategy, Until, expected};
use crate::expression::Surroundings;
use crate::limits;

/// The events that start a workflow, and what has come of them so far.
#[derive(Debug, Clone, Copy)]
pub struct Trigger<'d> {
    strategy: &'d Strategy,
}

/// Nothing is known outside of an execution.
struct Nowhere(Cell<u64>);

impl Surroundings for Nowhere {
    fn variable(&self, name: &str) -> Value {
        match name {
            "$runtime" => crate::step::runtime(),
            _ => Value::Null,
        }
    }

    fn steps(&self) -> &Cell<u64> {
        &self.0
    }
}

impl<'d> Trigger<'d> {
    pub(crate) fn new(strategy: &'d Strategy) -> Trigger<'d> {
        Trigger { strategy }
    }

    /// Which events may matter.
    pub fn interests(&self) -> Vec<Interest> {
        self.strategy.interests()
    }

    /// Whether each event that it wants starts an execution by itself: then there is nothing to
    /// remember between two events.
    pub fn is_single(&self) -> bool {
        self.strategy.until.is_none() && (!self.strategy.all || self.strategy.filters.len() == 1)
    }

    /// Whether it wants this event, where each is for itself.
    pub fn wants(&self, event: &Value) -> bool {
        self.gather(&[], event).is_some()
    }

    /// Offers an event to those that were taken already, in their order. `None`: it is not wanted.
    /// Otherwise whether it is one of the input, and whether the input is complete with it.
    ///
    /// What is known follows from the events alone, so that they are all that must be kept.
    pub fn gather(&self, taken: &[Value], event: &Value) -> Option<Gathered> {
        let nowhere = Nowhere(Cell::new(limits::TRANSITION_STEPS));
        let correlations = expected(self.strategy, &Value::Null, &nowhere).ok()?;
        let mut progress = Progress { correlations, ..Progress::default() };
        let mut input = Vec::new();
        for earlier in taken {
            let Some(taken) = self.strategy.take(&progress, earlier, &nowhere) else { continue };
            progress.note(&taken);
            if !taken.until {
                input.push(earlier.clone());
            }
        }
        let taken = self.strategy.take(&progress, event, &nowhere)?;
        progress.note(&taken);
        if !taken.until {
            input.push(event.clone());
        }
        let done = match &self.strategy.until {
            Some(Until::Condition(condition)) => {
                let so_far = Value::Array(input.clone());
                condition.test(&so_far, &nowhere).unwrap_or(false)
            }
            _ => progress.is_done(self.strategy),
        };
        Some(Gathered { input: done.then_some(input) })
    }
}

/// An event was taken.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    /// The input of the execution that starts, where nothing more is missing: the events in their
    /// order, without those of `until`.
    pub input: Option<Vec<Value>>,
}
