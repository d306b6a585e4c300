//! What a fork asks for anew.

use crate::{Fact, Input};

/// Stands for the name of a timer where a task listens.
const LISTEN: &str = "#listen";

/// The facts that ask for something which none of them says to be answered or given up, in their order.
pub(crate) fn waiting(facts: &[Fact]) -> Vec<&Fact> {
    let mut open = Open::default();
    for fact in facts {
        if let Some((task, name)) = asks(fact) {
            open.0.push((task, name, fact));
        }
        open.close(fact);
        // The fork has no child yet that could go on: it wants one from the beginning.
        if let Fact::ChildResumed { task } = fact {
            open.0.extend(requested(facts, task).map(|fact| (task.as_str(), "", fact)));
        }
    }
    open.0.into_iter().map(|(.., fact)| fact).collect()
}

/// What a task asked for when it started its workflow.
fn requested<'f>(facts: &'f [Fact], wanted: &str) -> Option<&'f Fact> {
    let is = |fact: &&Fact| matches!(fact, Fact::ChildRequested { task, .. } if task == wanted);
    facts.iter().find(is)
}

/// Task, own name (of a timer), and the fact.
#[derive(Default)]
struct Open<'f>(Vec<(&'f str, &'f str, &'f Fact)>);

impl Open<'_> {
    fn close(&mut self, fact: &Fact) {
        match fact {
            Fact::TaskCompleted { task, .. }
            | Fact::TaskFaulted { task, .. }
            | Fact::TaskCancelled { task, .. } => self.0.retain(|(of, ..)| of != task),
            Fact::CallCancelled { task }
            | Fact::ChildCancelled { task }
            // The answer is there; it counts when the execution goes on.
            | Fact::InputHeld {
                input: Input::Completed { task, .. } | Input::Failed { task, .. },
            } => {
                self.0.retain(|(of, name, _)| of != task || !name.is_empty());
            }
            Fact::ListeningEnded { task, .. } => {
                self.0.retain(|(of, name, _)| of != task || *name != LISTEN);
            }
            Fact::TimerFired { timer }
            | Fact::TimerCancelled { timer }
            | Fact::InputHeld { input: Input::TimerFired { timer } } => {
                self.0.retain(|(_, name, _)| name != timer);
            }
            Fact::ExecutionCompleted { .. }
            | Fact::ExecutionFaulted { .. }
            | Fact::ExecutionCancelled { .. } => self.0.clear(),
            Fact::ExecutionStarted { .. }
            | Fact::ExecutionForked { .. }
            | Fact::ExecutionSuspended { .. }
            | Fact::InputHeld { .. }
            | Fact::ExecutionResumed { .. }
            | Fact::ExecutionRetried { .. }
            | Fact::ExecutionWaiting { .. }
            | Fact::TaskStarted { .. }
            | Fact::TaskSkipped { .. }
            | Fact::ErrorCaught { .. }
            | Fact::TaskRetried { .. }
            | Fact::LoopStarted { .. }
            | Fact::IterationStarted { .. }
            | Fact::CallRequested { .. }
            | Fact::ChildRequested { .. }
            | Fact::ChildResumed { .. }
            | Fact::ListeningStarted { .. }
            | Fact::ListeningResumed { .. }
            | Fact::EventConsumed { .. }
            | Fact::ItemStarted { .. }
            | Fact::ItemCompleted { .. }
            | Fact::SignalKept { .. }
            | Fact::EventEmitted { .. }
            | Fact::TimerSet { .. }
            | Fact::ContextSet { .. }
            | Fact::FunctionCalled { .. }
            | Fact::TaskExtended { .. }
            | Fact::DataSet { .. } => {}
        }
    }
}

/// The task that waits for an answer because of this fact, and the timer where it is one.
///
/// What is done at once and not answered (an event, a child that nobody waits for) is not asked
/// for again: it has happened.
pub(crate) fn asks(fact: &Fact) -> Option<(&str, &str)> {
    match fact {
        Fact::CallRequested { task, .. } | Fact::ChildRequested { task, wait: true, .. } => {
            Some((task, ""))
        }
        Fact::ListeningStarted { task, .. } | Fact::ListeningResumed { task, .. } => {
            Some((task, LISTEN))
        }
        Fact::TimerSet { timer, task, .. } => Some((task, timer)),
        Fact::ExecutionStarted { .. }
        | Fact::ExecutionForked { .. }
        | Fact::ExecutionSuspended { .. }
        | Fact::InputHeld { .. }
        | Fact::ExecutionResumed { .. }
        | Fact::ExecutionRetried { .. }
        | Fact::ExecutionWaiting { .. }
        | Fact::ExecutionCompleted { .. }
        | Fact::ExecutionFaulted { .. }
        | Fact::ExecutionCancelled { .. }
        | Fact::TaskStarted { .. }
        | Fact::TaskSkipped { .. }
        | Fact::TaskCompleted { .. }
        | Fact::TaskFaulted { .. }
        | Fact::TaskCancelled { .. }
        | Fact::ErrorCaught { .. }
        | Fact::TaskRetried { .. }
        | Fact::LoopStarted { .. }
        | Fact::IterationStarted { .. }
        | Fact::CallCancelled { .. }
        | Fact::ChildRequested { wait: false, .. }
        | Fact::ChildResumed { .. }
        | Fact::ChildCancelled { .. }
        | Fact::EventConsumed { .. }
        | Fact::ItemStarted { .. }
        | Fact::ItemCompleted { .. }
        | Fact::ListeningEnded { .. }
        | Fact::SignalKept { .. }
        | Fact::EventEmitted { .. }
        | Fact::TimerFired { .. }
        | Fact::TimerCancelled { .. }
        | Fact::ContextSet { .. }
        | Fact::FunctionCalled { .. }
        | Fact::TaskExtended { .. }
        | Fact::DataSet { .. } => None,
    }
}
