//! Deciding once more what another definition has decided, from what the facts of a transition tell of its cause.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Machine, Move};
use crate::execution::Detail;
use crate::model::{Kind, Then};
use crate::pointer::escape;
use crate::{Consumed, Execution, Fact, Input, Status};

/// What led to a transition, as far as its facts tell.
#[derive(Debug, PartialEq)]
pub(crate) enum Cause {
    /// This input.
    Input(Input),
    /// The answer of a call, of which only the task's output was kept, and the context that it exported.
    Answer { task: String, output: Value, context: Option<Value> },
    /// An event, of which only was kept what its takers see of it.
    Event(Vec<(String, Consumed)>),
    /// The beginning of a fork, or an end that nothing in the workflow led to.
    Other,
}

/// What led to the next transition of an execution.
pub(crate) fn cause(own: &Execution, facts: &[Fact]) -> Cause {
    let input = match facts.first() {
        Some(Fact::ExecutionStarted { input, parent: None, .. }) => {
            Input::Start { input: input.clone() }
        }
        Some(Fact::ExecutionStarted { input, parent: Some(parent), .. }) => {
            Input::StartChild { input: input.clone(), parent: parent.clone() }
        }
        Some(Fact::ExecutionSuspended { reason, .. }) => Input::Suspend { reason: reason.clone() },
        Some(Fact::InputHeld { input }) => input.clone(),
        Some(Fact::ExecutionResumed { .. }) => Input::Resume,
        Some(Fact::ExecutionRetried { .. }) => retried(own, facts),
        Some(Fact::TimerFired { timer }) => Input::TimerFired { timer: timer.clone() },
        Some(Fact::SignalKept { position, event }) => {
            Input::Event { task: None, position: *position, event: event.clone() }
        }
        Some(Fact::EventConsumed { consumed, .. }) => return event(facts, consumed.position),
        Some(Fact::ExecutionForked { .. }) | None => return Cause::Other,
        Some(_) => return answer(own, facts),
    };
    Cause::Input(input)
}

fn retried(own: &Execution, facts: &[Fact]) -> Input {
    let goes_on = |child: &String| {
        facts.iter().any(|fact| matches!(fact, Fact::ChildResumed { task } if task == child))
    };
    let mut anew = own.stopped_children();
    anew.retain(|child| !goes_on(child));
    Input::RetryWith { anew, is_child: own.status() == Status::Cancelled }
}

fn event(facts: &[Fact], position: u64) -> Cause {
    let takers = facts.iter().filter_map(|fact| match fact {
        Fact::EventConsumed { task, consumed } if consumed.position == position => {
            Some((task.clone(), consumed.clone()))
        }
        _ => None,
    });
    Cause::Event(takers.collect())
}

/// The answer to a call, or that nobody wants one any more.
fn answer(own: &Execution, facts: &[Fact]) -> Cause {
    let held = |task: &str| own.held(task).cloned().unwrap_or_default();
    for fact in facts {
        match fact {
            Fact::TaskCompleted { task, output, .. } if own.is_waiting_for(task) => {
                let output = output.clone().unwrap_or_else(|| held(task));
                let context = facts.iter().find_map(|fact| match fact {
                    Fact::ContextSet { task: of, context } if of == task => Some(context.clone()),
                    _ => None,
                });
                return Cause::Answer { task: task.clone(), output, context };
            }
            Fact::TaskExtended { task, raw, output, .. } if own.is_waiting_for(task) => {
                let raw = raw.as_ref().or(output.as_ref()).cloned();
                let output = raw.unwrap_or_else(|| held(task));
                return Cause::Input(Input::Completed { task: task.clone(), output });
            }
            Fact::TaskFaulted { task, error, .. } if own.is_waiting_for(task) => {
                return Cause::Input(Input::Failed { task: task.clone(), error: error.clone() });
            }
            Fact::ExecutionCancelled { reason, .. } => {
                return Cause::Input(Input::Cancel { reason: reason.clone() });
            }
            _ => {}
        }
    }
    Cause::Other
}

impl Execution {
    /// Ends a task's call with what is the task's output already, after its `output.as`.
    pub(crate) fn advance_output(
        &mut self,
        (task, output): (&str, Value),
        context: Option<Value>,
        now: DateTime<Utc>,
    ) -> Vec<Fact> {
        let Some(run) = self.find(task).filter(|_| self.is_waiting_for(task)) else {
            return Vec::new();
        };
        Machine::within(self, now, |machine| {
            let then = machine.with_node(run, |node| node.then.clone()).unwrap_or(Then::Continue);
            let Some(node) = machine.get(run).and_then(|run| run.node) else { return };
            if let Some(context) = context {
                machine.emit(Fact::ContextSet { task: task.to_owned(), context });
            }
            let output = Arc::new(output);
            match machine.extended_after(run, &output, &output, &then) {
                Err(error) => machine.later(Move::Fault { run, error }),
                Ok(true) => {}
                Ok(false) => machine.close(run, node, &output, &then),
            }
        })
    }

    /// Gives tasks that listen what others like them have taken.
    pub(crate) fn advance_taken(
        &mut self,
        takers: &[(String, Consumed)],
        now: DateTime<Utc>,
    ) -> Vec<Fact> {
        Machine::within(self, now, |machine| {
            for (task, consumed) in takers {
                if let Some(run) = machine.state.find(task) {
                    machine.take_as(run, consumed.clone());
                }
            }
        })
    }

    /// Where a task stands in the document, by the key of its run.
    pub(crate) fn place_of(&self, task: &str) -> Option<&str> {
        let run = self.runs.get(self.find(task)?)?;
        Some(&self.definition.node(run.node?)?.pointer)
    }

    /// A part of a task as it stands in the document, by the key of its run.
    pub(crate) fn part_of(&self, task: &str, part: &str) -> Option<&Value> {
        let pointer = self.place_of(task)?;
        self.definition.document().pointer(&format!("{pointer}/{}", escape(part)))
    }
}

impl Machine<'_> {
    fn take_as(&mut self, run: usize, consumed: Consumed) {
        let definition = self.state.definition.clone();
        let Some(Kind::Listen(listen)) = definition.kind(self.get(run).and_then(|run| run.node))
        else {
            return;
        };
        let Detail::Listen(listening) = self.detail(run) else { return };
        if listening.closed {
            return;
        }
        let waits = !consumed.until && listen.foreach.is_some();
        self.emit(Fact::EventConsumed {
            task: self.key(run),
            consumed: Consumed { waits, ..consumed },
        });
        self.go_on(run, listen);
    }
}
