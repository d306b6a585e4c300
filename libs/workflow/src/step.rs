//! Deciding what happens next.

mod arguments;
mod begin;
mod catch;
mod end;
mod input;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub use self::input::Input;
use crate::execution::{Detail, Run};
use crate::model::{Kind, Node, NodeId, Then};
use crate::size::size;
use crate::{Error, ErrorType, Execution, Fact, limits};

/// Decides what follows from `input`, and does so up to the next point where something from
/// outside is needed.
///
/// The facts are to be appended to the journal as one entry, then applied. An input that no longer
/// matters (a duplicate, one for an unknown task, anything after the end) gives none.
pub fn step(execution: &Execution, input: &Input, now: DateTime<Utc>) -> Vec<Fact> {
    if execution.status().is_ended() {
        return Vec::new();
    }
    let mut machine = Machine {
        state: execution.clone(),
        facts: Vec::new(),
        now,
        queue: VecDeque::new(),
        size: 0,
        steps: Cell::new(limits::TRANSITION_STEPS),
    };
    machine.take(input);
    machine.run();
    machine.facts
}

/// A copy of the state that runs ahead, with the facts that got it there.
struct Machine {
    state: Execution,
    facts: Vec<Fact>,
    now: DateTime<Utc>,
    queue: VecDeque<Move>,
    /// Roughly how large the facts are, in bytes.
    size: u64,
    /// How many steps the expressions may still take.
    steps: Cell<u64>,
}

/// What is still to be done in this step.
enum Move {
    /// Begin a task inside a run.
    Enter { parent: usize, node: NodeId },
    /// Begin the next iteration of a `for`, or end it.
    Iterate { run: usize },
    /// End a run well, with its output before `output.as`.
    Finish { run: usize, output: Arc<Value>, then: Then },
    /// End a run with an error.
    Fault { run: usize, error: Error },
}

impl Machine {
    fn run(&mut self) {
        while let Some(due) = self.queue.pop_front() {
            if self.state.status().is_ended() {
                return;
            }
            if self.size > limits::TRANSITION_SIZE {
                let detail = format!(
                    "one step of the workflow made more than {} bytes; split it by calls or waits",
                    limits::TRANSITION_SIZE
                );
                self.fail(Error::new(ErrorType::Runtime, detail));
                return;
            }
            // Something earlier in the queue may have ended what this is about.
            let about = match &due {
                Move::Enter { parent: run, .. }
                | Move::Iterate { run }
                | Move::Finish { run, .. }
                | Move::Fault { run, .. } => *run,
            };
            if !self.is_active(about) {
                continue;
            }
            match due {
                Move::Enter { parent, node } => self.enter(parent, node),
                Move::Iterate { run } => self.iterate(run),
                Move::Finish { run, output, then } => self.finish(run, &output, &then),
                Move::Fault { run, error } => self.fault(run, error),
            }
        }
    }

    fn emit(&mut self, fact: Fact) {
        self.size += weight(&fact);
        self.state.apply(&fact);
        self.facts.push(fact);
    }

    fn later(&mut self, due: Move) {
        self.queue.push_back(due);
    }

    fn is_active(&self, run: usize) -> bool {
        self.state.runs.get(run).is_some_and(|run| run.is_active())
    }

    fn get(&self, run: usize) -> Option<&Run> {
        self.state.runs.get(run).map(Arc::as_ref)
    }

    fn key(&self, run: usize) -> String {
        self.get(run).map(|run| run.key.to_string()).unwrap_or_default()
    }

    fn parent(&self, run: usize) -> usize {
        self.get(run).map_or(0, |run| run.parent)
    }

    /// What flows inside a run at the moment.
    fn data(&self, run: usize) -> Arc<Value> {
        self.get(run).map(|run| run.data.clone()).unwrap_or_default()
    }

    fn detail(&self, run: usize) -> Detail {
        self.get(run).map_or(Detail::Plain, |run| run.detail.clone())
    }

    /// The kind of a run's task; `None` for the workflow itself.
    fn with_node<T>(&self, run: usize, read: impl FnOnce(&Node) -> T) -> Option<T> {
        let node = self.get(run)?.node?;
        self.state.definition.node(node).map(read)
    }

    /// The list of tasks that a run goes through now.
    fn list(&self, run: usize) -> Vec<NodeId> {
        let Some(owner) = self.get(run) else { return Vec::new() };
        let definition = &self.state.definition;
        match definition.kind(owner.node) {
            None => definition.model().root.clone(),
            Some(Kind::Do(tasks)) => tasks.clone(),
            Some(Kind::For(for_)) => for_.body.clone(),
            Some(Kind::Fork { branches, .. }) => branches.clone(),
            Some(Kind::Try(try_)) => match &owner.detail {
                Detail::Try { phase: crate::execution::Phase::Catching(_), .. } => {
                    try_.handler.clone().unwrap_or_default()
                }
                _ => try_.body.clone(),
            },
            Some(_) => Vec::new(),
        }
    }
}

/// Roughly how many bytes a fact takes.
fn weight(fact: &Fact) -> u64 {
    let values: &[&Value] = match fact {
        Fact::ExecutionStarted { input, transformed: Some(other), .. } => &[input, other],
        Fact::ExecutionStarted { input: value, .. }
        | Fact::TaskStarted { input: Some(value), .. }
        | Fact::TaskCompleted { output: Some(value), .. }
        | Fact::CallRequested { arguments: value, .. }
        | Fact::ContextSet { context: value, .. }
        | Fact::ExecutionCompleted { output: value, .. } => &[value],
        Fact::LoopStarted { items, .. } => return 100 + items.iter().map(size).sum::<u64>(),
        _ => &[],
    };
    200 + values.iter().map(|value| size(value)).sum::<u64>()
}
