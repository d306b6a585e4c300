//! Events that start a workflow.

use std::cell::Cell;

use serde_json::Value;

use crate::event::{Interest, Progress, Strategy, Until, expected};
use crate::expression::Surroundings;
use crate::limits;
use crate::size::size;

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
        self.join(&[], event).is_some()
    }

    /// Adds an event to the sets of events that wait for others: to the first that wants it, which
    /// is taken out when it is complete, or as a new set. So events that belong together find each
    /// other in whatever order they come, and one that stays alone keeps no others from it.
    ///
    /// What is known follows from the events alone, so that they are all that must be kept.
    pub fn gather(&self, open: &mut Vec<Vec<Value>>, event: &Value) -> Gathered {
        let sets = open.iter().enumerate();
        let joined = sets
            .filter_map(|(place, set)| Some((place, self.join(set, event)?)))
            .next()
            .or_else(|| Some((open.len(), self.join(&[], event)?)));
        let Some((place, input)) = joined else { return Gathered::Unwanted };
        let mut set = if place < open.len() { open.remove(place) } else { Vec::new() };
        set.push(event.clone());
        match input {
            Some(input) => Gathered::Complete { input, events: set },
            None => {
                open.insert(place, set);
                Gathered::Waiting
            }
        }
    }

    /// Whether a set of events wants another one; then the input that is complete with it.
    fn join(&self, taken: &[Value], event: &Value) -> Option<Option<Vec<Value>>> {
        let all = taken.iter().chain([event]);
        let steps: u64 = all.map(|event| limits::FILTER_STEPS + size(event) / 32).sum();
        let nowhere = Nowhere(Cell::new(steps.min(limits::TRANSITION_STEPS)));
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
        Some(done.then_some(input))
    }
}

/// What became of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Gathered {
    /// It is not wanted.
    Unwanted,
    /// It waits for others.
    Waiting,
    /// Nothing more is missing.
    Complete {
        /// The input of the execution that starts: the events in their order, without those that
        /// only end the waiting.
        input: Vec<Value>,
        /// All events that were used up.
        events: Vec<Value>,
    },
}
