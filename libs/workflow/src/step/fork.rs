//! Going on as another execution: a copy of the facts up to a transition, with changed data.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use muster_document::marks;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{Machine, Move};
use crate::effect::{asks, waiting};
use crate::size::size;
use crate::{Definition, Execution, Fact, Status, limits};

/// What a fork copies, and what it changes before it goes on.
#[derive(Debug, Clone, Copy)]
pub struct Fork<'a> {
    /// The execution that is copied.
    pub origin: &'a str,
    /// How many of its transitions are copied.
    pub position: u64,
    /// Their facts.
    pub copied: &'a [Fact],
    /// When the last of them happened: timers keep what was left of them then.
    pub at: DateTime<Utc>,
    /// What is changed.
    pub changes: &'a Changes,
}

/// What a fork changes before it goes on.
///
/// A task in flight that begins with other data, or may have read the context, begins again, so
/// that its expressions see what was changed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// Replaces the context; every task in flight begins again.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub context: Option<Value>,
    /// What the task in flight gets instead of what the task before it left; it begins again.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// Key of the task in flight that `data` is for; may be left out where only one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

impl Changes {
    /// Without marks of secrets: nobody outside can make one.
    fn cleaned(&self) -> Changes {
        let mut changes = self.clone();
        for value in [&mut changes.context, &mut changes.data].into_iter().flatten() {
            marks::unmark(value);
        }
        changes
    }
}

/// Null is a value, not its absence.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Why an execution cannot go on as another one from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForkError {
    /// The facts do not begin an execution.
    NotBegun,
    /// The execution has ended there.
    Ended(Status),
    /// No task with this key is in flight there; those that are.
    NotInFlight(String, Vec<String>),
    /// It is not said which of the tasks in flight the data is for.
    Several(Vec<String>),
    /// A key without data.
    TaskWithoutData,
    /// A value is larger than a value may be: what it is, and its size.
    TooLarge(&'static str, u64),
}

impl fmt::Display for ForkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForkError::NotBegun => f.write_str("the execution has not begun there"),
            ForkError::Ended(status) => {
                let status = format!("{status:?}").to_lowercase();
                write!(
                    f,
                    "the execution is {status} there, so that nothing would go on; fork from an earlier position"
                )
            }
            ForkError::NotInFlight(task, others) => {
                write!(f, "no task {task:?} is in flight there, but {}", others.join(", "))
            }
            ForkError::Several(tasks) => write!(
                f,
                "{} tasks are in flight there: `task` must say which one the data is for, of {}",
                tasks.len(),
                tasks.join(", ")
            ),
            ForkError::TaskWithoutData => {
                f.write_str("`task` says which task gets `data`, but there is no `data`")
            }
            ForkError::TooLarge(what, size) => {
                write!(f, "`{what}` has about {size} bytes, {} at most", limits::VALUE_SIZE)
            }
        }
    }
}

impl std::error::Error for ForkError {}

impl Execution {
    /// A new execution that begins with the facts of another one and goes on from there: its
    /// state, and the facts that follow the copied ones. What was in flight is asked anew, under
    /// the new execution's own ids: [`crate::effects`] of all these facts say so.
    ///
    /// # Errors
    ///
    /// The execution has ended there, or the changes do not fit.
    pub fn forked(
        id: &str,
        definition: Arc<Definition>,
        fork: &Fork<'_>,
        now: DateTime<Utc>,
    ) -> Result<(Execution, Vec<Fact>), ForkError> {
        let mut execution = Execution::new(id, definition);
        fork.copied.iter().for_each(|fact| execution.apply(fact));
        match execution.status() {
            Status::Pending => return Err(ForkError::NotBegun),
            status if status.is_ended() => return Err(ForkError::Ended(status)),
            _ => {}
        }
        let changes = fork.changes.cleaned();
        let again = execution.begin_again(&changes)?;
        let stopped: Vec<&str> =
            again.iter().filter_map(|(run, _)| execution.key_of(*run)).collect();
        let asked = asked(fork, &stopped, now);
        let facts = Machine::within(&mut execution, now, |machine| {
            let (origin, position) = (fork.origin.to_owned(), fork.position);
            machine.emit(Fact::ExecutionForked { origin, position, asked, at: now });
            if let Some(context) = changes.context.clone() {
                machine.emit(Fact::ContextSet { task: String::new(), context });
            }
            for (run, data) in again {
                machine.begin_again(run, data);
            }
        });
        Ok((execution, facts))
    }

    /// Keys of the tasks that are in flight: those that wait for something from outside.
    pub fn in_flight(&self) -> Vec<String> {
        self.leaves().map(|(_, key)| key.to_owned()).collect()
    }

    /// What flows inside a task under way: what it leaves, where the fact of its end names nothing
    /// else. `None` where no such task is under way.
    pub fn held(&self, task: &str) -> Option<&Value> {
        let run = self.runs.get(*self.by_key.get(task)?)?;
        Some(run.live.as_ref()?.data.as_ref())
    }

    fn leaves(&self) -> impl Iterator<Item = (usize, &str)> {
        let live = |run: &crate::execution::Run| {
            run.live.as_ref().is_some_and(|live| live.inside.is_empty())
        };
        let runs = self.runs.iter().enumerate().skip(1).filter(move |(_, run)| live(run));
        runs.map(|(index, run)| (index, &*run.key))
    }

    /// Which tasks in flight begin again, and with which data where that is changed.
    fn begin_again(&self, changes: &Changes) -> Result<Vec<(usize, Option<Value>)>, ForkError> {
        for (what, value) in [("context", &changes.context), ("data", &changes.data)] {
            let size = value.as_ref().map_or(0, size);
            if size > limits::VALUE_SIZE {
                return Err(ForkError::TooLarge(what, size));
            }
        }
        let leaves: Vec<(usize, &str)> = self.leaves().collect();
        let keys = || leaves.iter().map(|(_, key)| (*key).to_owned()).collect::<Vec<_>>();
        let chosen = match (&changes.data, &changes.task, leaves.as_slice()) {
            (None, Some(_), _) => return Err(ForkError::TaskWithoutData),
            (None, None, _) => None,
            (Some(_), Some(task), _) => {
                let found = leaves.iter().find(|(_, key)| key == task);
                let Some((run, _)) = found else {
                    return Err(ForkError::NotInFlight(task.clone(), keys()));
                };
                Some(*run)
            }
            (Some(_), None, [(run, _)]) => Some(*run),
            (Some(_), None, _) => return Err(ForkError::Several(keys())),
        };
        let again =
            leaves.iter().filter(|(run, _)| changes.context.is_some() || chosen == Some(*run));
        Ok(again
            .map(|(run, _)| (*run, changes.data.clone().filter(|_| chosen == Some(*run))))
            .collect())
    }
}

impl Machine<'_> {
    /// Stops a task in flight and begins it once more in its place.
    fn begin_again(&mut self, run: usize, data: Option<Value>) {
        let Some(node) = self.get(run).and_then(|run| run.node) else { return };
        let parent = self.parent(run);
        self.cancel_call(run);
        self.cancel_timers(run);
        self.emit(Fact::TaskCancelled { task: self.key(run), at: self.now });
        if let Some(data) = data {
            self.emit(Fact::DataSet { task: self.key(parent), data });
        }
        self.later(Move::Enter { parent, node });
    }
}

/// What was asked for by tasks that go on; timers keep what was left of them.
fn asked(fork: &Fork<'_>, stopped: &[&str], now: DateTime<Utc>) -> Vec<Fact> {
    let mut asked = Vec::new();
    for fact in waiting(fork.copied) {
        if asks(fact).is_some_and(|(task, _)| stopped.contains(&task)) {
            continue;
        }
        let mut fact = fact.clone();
        if let Fact::TimerSet { at, .. } = &mut fact {
            *at = now + (*at - fork.at).max(TimeDelta::zero());
        }
        asked.push(fact);
    }
    asked
}
