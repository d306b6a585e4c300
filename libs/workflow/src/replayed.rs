//! What an execution would have decided on another version of its definition.
//!
//! What it recorded is given to the other definition transition by transition: the same inputs, answers and events, at the
//! same times. Nobody is asked anything. The first fact that comes out differently is where the two part.

mod comparable;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use self::comparable::{Names, comparable, told};
use crate::step::redone::{Cause, cause};
use crate::{Consumed, Definition, Execution, Fact, Input};

/// Where another version would have decided otherwise first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The transition, counted from 1.
    pub position: u64,
    /// Key of the run of the task; empty where it is about the workflow.
    pub task: String,
    /// Where the task stands in the execution's own definition, or in the other one where it is there only.
    pub pointer: String,
    /// What was decided, in words; empty: nothing.
    pub old: String,
    /// What would have been decided.
    pub new: String,
}

/// What came of a replay on another version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// It would stand where it stands.
    Same,
    /// It would have gone another way.
    Differs(Decision),
    /// What is recorded does not tell: an older engine decided in other facts.
    Unclear,
    /// There was no time for all of it.
    Unfinished,
}

/// One transition: when it was, and its facts.
pub type Recorded<'f> = (DateTime<Utc>, &'f [Fact]);

/// Replays what an execution on `own` recorded on `other`.
///
/// `goes_on` is asked before each transition and ends the replay where it is false.
pub fn replayed<'f>(
    execution_id: &str,
    (own, other): (&Arc<Definition>, &Arc<Definition>),
    transitions: impl IntoIterator<Item = Recorded<'f>> + Clone,
    goes_on: &dyn Fn() -> bool,
) -> Replayed {
    if own.digest() == other.digest() {
        return Replayed::Same;
    }
    match Replay::new(execution_id, own, other).run(transitions.clone(), goes_on) {
        Replayed::Differs(decision) => {
            // What does not come out on its own definition either says nothing about the other one.
            let count = usize::try_from(decision.position).unwrap_or(usize::MAX);
            let until = transitions.into_iter().take(count);
            match Replay::new(execution_id, own, own).run(until, goes_on) {
                Replayed::Same => Replayed::Differs(decision),
                Replayed::Differs(_) => Replayed::Unclear,
                other => other,
            }
        }
        other => other,
    }
}

struct Replay {
    /// As it was recorded.
    own: Execution,
    /// As it would have been.
    other: Execution,
    names: Names,
}

/// What the other definition makes of a transition.
enum Redone {
    Facts(Vec<Fact>),
    /// It is taken as it was recorded.
    AsRecorded,
    /// The part of a task that decides is another one, and what it would have decided on was not kept.
    Part {
        task: String,
        part: &'static str,
    },
}

impl Replay {
    fn new(execution_id: &str, own: &Arc<Definition>, other: &Arc<Definition>) -> Replay {
        Replay {
            own: Execution::new(execution_id, Arc::clone(own)),
            other: Execution::new(execution_id, Arc::clone(other)),
            names: Names::default(),
        }
    }

    fn run<'f>(
        mut self,
        transitions: impl IntoIterator<Item = Recorded<'f>>,
        goes_on: &dyn Fn() -> bool,
    ) -> Replayed {
        for (index, (at, facts)) in transitions.into_iter().enumerate() {
            if !goes_on() {
                return Replayed::Unfinished;
            }
            let position = index as u64 + 1;
            if let Some(decision) = self.transition(position, at, facts) {
                return Replayed::Differs(decision);
            }
        }
        Replayed::Same
    }

    fn transition(&mut self, position: u64, at: DateTime<Utc>, facts: &[Fact]) -> Option<Decision> {
        let now = facts.iter().find_map(Fact::at).unwrap_or(at);
        let decision = match self.redo(now, facts) {
            Redone::Facts(redone) => self.compare(position, now, (facts, &redone)),
            Redone::AsRecorded => {
                // Tasks keep their places, as far as they are there.
                facts.iter().for_each(|fact| self.other.apply(fact));
                None
            }
            Redone::Part { task, part } => Some(self.parted(position, &task, part)),
        };
        facts.iter().for_each(|fact| self.own.apply(fact));
        decision
    }

    fn redo(&mut self, now: DateTime<Utc>, facts: &[Fact]) -> Redone {
        if let Some(Fact::ExecutionStarted { payer, .. }) = facts.first() {
            self.other.payer.clone_from(payer);
        }
        match cause(&self.own, facts) {
            Cause::Input(input) => {
                let input = self.names.input(input);
                Redone::Facts(self.other.advance(&input, now))
            }
            Cause::Answer { task, output, context } => self.answer(&task, output, context, now),
            Cause::Event(takers) => self.event(takers, now),
            Cause::Other => Redone::AsRecorded,
        }
    }

    fn answer(
        &mut self,
        task: &str,
        output: Value,
        context: Option<Value>,
        now: DateTime<Utc>,
    ) -> Redone {
        let there = self.names.task(task);
        let is_made = |of: &Execution, task: &str| {
            of.part_of(task, "output").is_some_and(|output| output.get("as").is_some())
        };
        let is_other =
            |part: &str| self.own.part_of(task, part) != self.other.part_of(&there, part);
        if !is_made(&self.own, task) {
            // The output is the answer.
            let input = Input::Completed { task: there, output };
            return Redone::Facts(self.other.advance(&input, now));
        }
        for part in ["output", "export"] {
            if is_other(part) {
                return Redone::Part { task: task.to_owned(), part };
            }
        }
        Redone::Facts(self.other.advance_output((&there, output), context, now))
    }

    fn event(&mut self, takers: Vec<(String, Consumed)>, now: DateTime<Utc>) -> Redone {
        for (task, _) in &takers {
            let there = self.names.task(task);
            let part = ["listen", "with"]
                .into_iter()
                .find(|part| self.own.part_of(task, part) != self.other.part_of(&there, part));
            if let Some(part) = part {
                return Redone::Part { task: task.clone(), part };
            }
        }
        let named = |(task, consumed): (String, _)| (self.names.task(&task), consumed);
        let takers: Vec<_> = takers.into_iter().map(named).collect();
        Redone::Facts(self.other.advance_taken(&takers, now))
    }

    fn compare(
        &mut self,
        position: u64,
        now: DateTime<Utc>,
        (recorded, redone): (&[Fact], &[Fact]),
    ) -> Option<Decision> {
        // A task that is skipped changes nothing.
        let counts = |fact: &&Fact| !matches!(fact, Fact::TaskSkipped { .. });
        let (mut old, mut new) = (recorded.iter().filter(counts), redone.iter().filter(counts));
        loop {
            let (was, would_be) = match (old.next(), new.next()) {
                (None, None) => return None,
                pair => pair,
            };
            if let (Some(was), Some(would_be)) = (was, would_be) {
                self.names.pair(was, would_be);
                if comparable(was, now, Some(&self.names)) == comparable(would_be, now, None) {
                    continue;
                }
            }
            return Some(self.differs(position, was, would_be));
        }
    }

    fn differs(&self, position: u64, was: Option<&Fact>, would_be: Option<&Fact>) -> Decision {
        let task = was.or(would_be).and_then(Fact::task).unwrap_or_default();
        let pointer_in = |fact: Option<&Fact>, of: &Execution| match fact {
            Some(Fact::TaskStarted { pointer, .. }) => Some(pointer.clone()),
            Some(fact) => of.place_of(fact.task()?).map(str::to_owned),
            None => None,
        };
        let pointer = pointer_in(was, &self.own).or_else(|| pointer_in(would_be, &self.other));
        Decision {
            position,
            task: task.to_owned(),
            pointer: pointer.unwrap_or_default(),
            old: was.map(told).unwrap_or_default(),
            new: would_be.map(told).unwrap_or_default(),
        }
    }

    fn parted(&self, position: u64, task: &str, part: &str) -> Decision {
        let there = self.names.task(task);
        let text = |of: &Execution, task: &str| {
            let text = of.part_of(task, part).map(Value::to_string).unwrap_or_default();
            format!("`{part}`: {text:.200}")
        };
        Decision {
            position,
            task: task.to_owned(),
            pointer: self.own.place_of(task).unwrap_or_default().to_owned(),
            old: text(&self.own, task),
            new: text(&self.other, &there),
        }
    }
}

impl Fact {
    /// When it happened, where it says so.
    fn at(&self) -> Option<DateTime<Utc>> {
        match self {
            Fact::ExecutionStarted { at, .. }
            | Fact::TaskStarted { at, .. }
            | Fact::TaskSkipped { at, .. }
            | Fact::TaskCompleted { at, .. }
            | Fact::TaskFaulted { at, .. }
            | Fact::TaskCancelled { at, .. }
            | Fact::ExecutionForked { at, .. }
            | Fact::ExecutionCompleted { at, .. }
            | Fact::ExecutionFaulted { at, .. }
            | Fact::ExecutionCancelled { at, .. }
            | Fact::ExecutionSuspended { at, .. }
            | Fact::ExecutionResumed { at, .. }
            | Fact::ExecutionRetried { at, .. }
            | Fact::ExecutionWaiting { at, .. } => Some(*at),
            _ => None,
        }
    }

    /// The task that it is about; `None` where it is about the workflow.
    fn task(&self) -> Option<&str> {
        match self {
            Fact::TaskStarted { task, .. }
            | Fact::TaskSkipped { task, .. }
            | Fact::TaskCompleted { task, .. }
            | Fact::TaskFaulted { task, .. }
            | Fact::TaskCancelled { task, .. }
            | Fact::ErrorCaught { task, .. }
            | Fact::TaskRetried { task, .. }
            | Fact::LoopStarted { task, .. }
            | Fact::IterationStarted { task, .. }
            | Fact::CallRequested { task, .. }
            | Fact::CallCancelled { task }
            | Fact::FunctionCalled { task, .. }
            | Fact::TaskExtended { task, .. }
            | Fact::ChildRequested { task, .. }
            | Fact::ChildResumed { task }
            | Fact::ChildCancelled { task }
            | Fact::ListeningStarted { task, .. }
            | Fact::EventConsumed { task, .. }
            | Fact::ItemStarted { task, .. }
            | Fact::ItemCompleted { task, .. }
            | Fact::ListeningEnded { task, .. }
            | Fact::ListeningResumed { task, .. }
            | Fact::EventEmitted { task, .. }
            | Fact::TimerSet { task, .. }
            | Fact::ContextSet { task, .. }
            | Fact::DataSet { task, .. }
            | Fact::ExecutionWaiting { task, .. } => Some(task),
            Fact::TimerFired { timer } | Fact::TimerCancelled { timer } => {
                timer.rsplit_once('#').map(|(task, _)| task)
            }
            _ => None,
        }
    }
}

/// Keys of tasks by those of another execution.
type Keys = HashMap<String, String>;
