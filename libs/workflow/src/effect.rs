//! What the outside world must do because of facts.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::{Error, Fact, Function};

/// One thing to do, after the facts that it comes from are safely in the journal.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Call a function, and report the result as an input for `task`.
    Call {
        /// Key of the `call` task.
        task: String,
        /// What kind of function.
        function: Function,
        /// The evaluated arguments.
        arguments: Value,
    },
    /// Set a timer, and report as an input when it fires.
    SetTimer {
        /// Name of the timer, unique in the execution.
        timer: String,
        /// When it fires.
        at: DateTime<Utc>,
    },
    /// Forget a timer; one that fires nevertheless does no harm.
    CancelTimer {
        /// Name of the timer.
        timer: String,
    },
    /// Stop a call if that is possible; a result that comes nevertheless does no harm.
    CancelCall {
        /// Key of the `call` task.
        task: String,
    },
    /// Tell the world that the execution began.
    Started,
    /// Tell the world that the execution ended well.
    Completed {
        /// The workflow's output.
        output: Value,
    },
    /// Tell the world that the execution ended with an error.
    Faulted {
        /// The error.
        error: Error,
    },
    /// Tell the world that the execution was cancelled.
    Cancelled {
        /// Who wanted it and why, as the canceller said.
        reason: String,
    },
}

/// The effects of facts, in their order.
///
/// The same facts give the same effects at the same index, today and after a crash, so that an
/// index together with the journal's sequence makes a deterministic message id.
pub fn effects(facts: &[Fact]) -> Vec<Effect> {
    facts.iter().filter_map(effect).collect()
}

fn effect(fact: &Fact) -> Option<Effect> {
    Some(match fact {
        Fact::CallRequested { task, function, arguments } => {
            Effect::Call { task: task.clone(), function: *function, arguments: arguments.clone() }
        }
        Fact::CallCancelled { task } => Effect::CancelCall { task: task.clone() },
        Fact::TimerSet { timer, at, .. } => Effect::SetTimer { timer: timer.clone(), at: *at },
        Fact::TimerCancelled { timer } => Effect::CancelTimer { timer: timer.clone() },
        Fact::ExecutionStarted { .. } => Effect::Started,
        Fact::ExecutionCompleted { output, .. } => Effect::Completed { output: output.clone() },
        Fact::ExecutionFaulted { error, .. } => Effect::Faulted { error: error.clone() },
        Fact::ExecutionCancelled { reason, .. } => Effect::Cancelled { reason: reason.clone() },
        Fact::TaskStarted { .. }
        | Fact::TaskSkipped { .. }
        | Fact::TaskCompleted { .. }
        | Fact::TaskFaulted { .. }
        | Fact::TaskCancelled { .. }
        | Fact::ErrorCaught { .. }
        | Fact::TaskRetried { .. }
        | Fact::LoopStarted { .. }
        | Fact::IterationStarted { .. }
        | Fact::TimerFired { .. }
        | Fact::ContextSet { .. } => return None,
    })
}
