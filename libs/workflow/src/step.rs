//! Deciding what happens next.

mod arguments;
mod begin;
mod bounds;
mod call;
mod catch;
mod child;
mod clean;
mod control;
mod emit;
mod end;
mod extend;
mod fork;
mod input;
mod listen;
pub(crate) mod redone;

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(crate) use self::arguments::runtime;
pub use self::fork::{Changes, Fork, ForkError};
pub use self::input::Input;
use crate::execution::{Detail, Live, Phase, Run};
use crate::model::{Kind, Node, NodeId, Then};
use crate::size::weight;
use crate::{Error, ErrorType, Execution, Fact, Here, Slow, Status, limits};

/// Steps of expressions, and moves at some steps each, that are nothing to wait for: they take
/// some milliseconds at most.
const QUICK_STEPS: u64 = 4_000;
/// Steps for a move.
const MOVE_STEPS: u64 = 10;

/// Decides what follows from `input`, as [`Execution::advance`], and leaves the state as it is.
///
/// It works on a copy of the whole state: for who looks ahead. Who keeps a state advances it.
pub fn step(execution: &Execution, input: &Input, now: DateTime<Utc>) -> Vec<Fact> {
    execution.clone().advance(input, now)
}

impl Execution {
    /// Decides what follows from `input`, up to the next point where something from outside is
    /// needed, and brings the state there.
    ///
    /// The facts are to be appended to the journal as one entry. Where that fails the state is
    /// ahead of the journal and must be dropped. An input that no longer matters (a duplicate, one
    /// for an unknown task, anything after the end) gives no facts and changes nothing.
    ///
    /// The cost follows from what is under way; what has ended costs nothing.
    pub fn advance(&mut self, input: &Input, now: DateTime<Utc>) -> Vec<Fact> {
        self.advance_with(input, now, &Here)
    }

    /// As [`Execution::advance`]; what takes long is run by `slow`.
    pub fn advance_with(
        &mut self,
        input: &Input,
        now: DateTime<Utc>,
        slow: &dyn Slow,
    ) -> Vec<Fact> {
        if self.status().is_ended() && !self.goes_on_with(input) {
            return Vec::new();
        }
        Machine::within_slow(self, now, slow, |machine| machine.take(&clean::clean(input)))
    }

    /// Ends the execution with an error that nothing can catch, where what [`Execution::advance`]
    /// decided cannot be written down. Facts as there, none where it has ended.
    pub fn abort(&mut self, error: &Error, now: DateTime<Utc>) -> Vec<Fact> {
        if self.status().is_ended() {
            return Vec::new();
        }
        Machine::within(self, now, |machine| {
            if machine.state.status() == Status::Pending {
                let (input, at) = (Value::Null, now);
                let (transformed, parent, payer) = (None, None, machine.state.payer.clone());
                machine.emit(Fact::ExecutionStarted { input, transformed, parent, payer, at });
            }
            machine.fail(error.clone());
        })
    }
}

/// A state on its way, with the facts that got it there.
struct Machine<'e> {
    state: &'e mut Execution,
    facts: Vec<Fact>,
    now: DateTime<Utc>,
    queue: VecDeque<Move>,
    /// Roughly how large the facts are, in bytes.
    size: u64,
    /// How many steps the expressions may still take.
    steps: Cell<u64>,
    slow: &'e dyn Slow,
    /// How many steps it may take until it counts as slow.
    quick: Cell<u64>,
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

impl Machine<'_> {
    /// The facts of what `begin` does and of all that follows from it.
    fn within(
        state: &mut Execution,
        now: DateTime<Utc>,
        begin: impl FnOnce(&mut Machine<'_>),
    ) -> Vec<Fact> {
        Machine::within_slow(state, now, &Here, begin)
    }

    fn within_slow(
        state: &mut Execution,
        now: DateTime<Utc>,
        slow: &dyn Slow,
        begin: impl FnOnce(&mut Machine<'_>),
    ) -> Vec<Fact> {
        let mut machine = Machine {
            state,
            facts: Vec::new(),
            now,
            queue: VecDeque::new(),
            size: 0,
            steps: Cell::new(limits::TRANSITION_STEPS),
            slow,
            quick: Cell::new(QUICK_STEPS),
        };
        let before = machine.state.status();
        begin(&mut machine);
        machine.run();
        machine.tell_waiting(before);
        machine.facts
    }

    fn run(&mut self) {
        self.run_while(|machine| machine.quick.get() > 0);
        if !self.queue.is_empty() {
            // The rest as a whole: no part of it needs to be aside once more.
            self.quick.set(u64::MAX);
            self.slow.run(&mut || self.run_while(|_| true));
        }
    }

    fn run_while(&mut self, goes_on: impl Fn(&Self) -> bool) {
        while goes_on(self)
            && let Some(due) = self.queue.pop_front()
        {
            self.quick.set(self.quick.get().saturating_sub(MOVE_STEPS));
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
        self.get(run).is_some_and(Run::is_active)
    }

    fn get(&self, run: usize) -> Option<&Run> {
        self.state.runs.get(run)
    }

    /// What a run has as long as it is under way.
    fn live(&self, run: usize) -> Option<&Live> {
        self.get(run)?.live.as_deref()
    }

    fn key(&self, run: usize) -> String {
        self.get(run).map(|run| run.key.to_string()).unwrap_or_default()
    }

    fn parent(&self, run: usize) -> usize {
        self.get(run).map_or(0, |run| run.parent)
    }

    /// What flows inside a run at the moment.
    fn data(&self, run: usize) -> Arc<Value> {
        self.live(run).map(|live| live.data.clone()).unwrap_or_default()
    }

    fn detail(&self, run: usize) -> &Detail {
        self.get(run).map_or(&Detail::Plain, Run::detail)
    }

    /// The kind of a run's task; `None` for the workflow itself.
    fn with_node<T>(&self, run: usize, read: impl FnOnce(&Node) -> T) -> Option<T> {
        let node = self.get(run)?.node?;
        self.state.definition.node(node).map(read)
    }

    /// The list of tasks that a run goes through now.
    fn list(&self, run: usize) -> &[NodeId] {
        let Some(owner) = self.get(run) else { return &[] };
        let definition = &self.state.definition;
        match definition.kind(owner.node) {
            None => &definition.model().root,
            Some(Kind::Do(tasks)) => tasks,
            Some(Kind::For(for_)) => &for_.body,
            Some(Kind::Function { body: Some(body), .. }) => body,
            Some(Kind::Fork { branches, .. }) => branches,
            Some(Kind::Listen(listen)) => {
                listen.foreach.as_ref().map(|each| each.body.as_slice()).unwrap_or_default()
            }
            Some(Kind::Try(try_)) => match owner.detail() {
                Detail::Try { phase: Phase::Catching(_), .. } => {
                    try_.handler.as_deref().unwrap_or_default()
                }
                _ => &try_.body,
            },
            Some(_) => &[],
        }
    }
}
