//! What the outside world must do because of facts.

mod forked;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde_json::Value;

pub(crate) use self::forked::{asks, waiting};
use crate::{Error, Fact, Function, Interest};

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
    /// Start another workflow, and report its end as an input for `task` where that waits.
    StartChild {
        /// Key of the `run` task.
        task: String,
        /// The other workflow's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its version, or `latest`.
        version: String,
        /// Its input.
        input: Value,
        /// Whether the task waits for its end.
        wait: bool,
    },
    /// Let the workflow that a task started go on where it failed or was stopped, and report its
    /// end as an input for `task`; where it has ended well meanwhile, that end.
    ResumeChild {
        /// Key of the `run` task.
        task: String,
    },
    /// Cancel the workflow that a task started.
    CancelChild {
        /// Key of the `run` task.
        task: String,
    },
    /// Register a task for events, and report each as an input: those that come from now on and
    /// those that came since the entry of the journal.
    Listen {
        /// Key of the task.
        task: String,
        /// Which events it may want.
        interests: Vec<Interest>,
    },
    /// Remove a registration; an event that comes nevertheless does no harm.
    StopListening {
        /// Key of the task.
        task: String,
        /// What it was registered for.
        interests: Vec<Interest>,
    },
    /// Tell the world of an event.
    Emit {
        /// Key of the task.
        task: String,
        /// The event in its structured JSON form.
        event: Value,
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
    /// Tell the world that the execution began as a copy of another.
    Forked {
        /// The execution that was copied.
        origin: String,
        /// How many of its transitions were copied.
        position: u64,
    },
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
    /// Tell the world that the execution stands still.
    Suspended {
        /// Who wanted it and why, as they said.
        reason: String,
    },
    /// Tell the world that a suspended execution goes on.
    Resumed,
    /// Tell the world that a faulted execution goes on.
    Retried,
    /// Tell the world that nothing is at work any more.
    Waiting {
        /// Key of a task that waits.
        task: String,
    },
}

/// The effects of facts, in their order.
///
/// The same facts give the same effects at the same index, today and after a crash, so that an
/// index together with the journal's sequence makes a deterministic message id.
pub fn effects(facts: &[Fact]) -> Vec<Effect> {
    // The effects of the facts that a fork begins with were another execution's; these may be those
    // of a fork, too.
    let fork = facts.iter().rposition(|fact| matches!(fact, Fact::ExecutionForked { .. }));
    let own = facts.iter().skip(fork.unwrap_or(0));
    let effects = own.flat_map(|fact| asked_anew(fact).iter().chain([fact])).filter_map(effect);
    without_brief_timers(without_brief_listeners(effects.collect()))
}

/// A timer that is set and cancelled in one transition is never set, for the same reason: where the
/// cancelling came first, the timer would stay until it fires, for years perhaps.
fn without_brief_timers(mut effects: Vec<Effect>) -> Vec<Effect> {
    let cancelled = |effect: &Effect| match effect {
        Effect::CancelTimer { timer } => Some(timer.clone()),
        _ => None,
    };
    let cancelled: BTreeSet<String> = effects.iter().filter_map(cancelled).collect();
    if cancelled.is_empty() {
        return effects;
    }
    // A name is never used again.
    let set = |effect: &Effect| match effect {
        Effect::SetTimer { timer, .. } if cancelled.contains(timer) => Some(timer.clone()),
        _ => None,
    };
    let brief: BTreeSet<String> = effects.iter().filter_map(set).collect();
    effects.retain(|effect| match effect {
        Effect::SetTimer { timer, .. } | Effect::CancelTimer { timer } => !brief.contains(timer),
        _ => true,
    });
    effects
}

/// A task that begins and ends to listen in one transition is never registered: its two effects
/// would be on their way at the same time.
fn without_brief_listeners(mut effects: Vec<Effect>) -> Vec<Effect> {
    let ends = |effect: &Effect| match effect {
        Effect::StopListening { task, .. } => Some(task.clone()),
        _ => None,
    };
    let ended: BTreeSet<String> = effects.iter().filter_map(ends).collect();
    if ended.is_empty() {
        return effects;
    }
    let begins = |effect: &Effect| match effect {
        Effect::Listen { task, .. } if ended.contains(task) => Some(task.clone()),
        _ => None,
    };
    let brief: BTreeSet<String> = effects.iter().filter_map(begins).collect();
    effects.retain(|effect| match effect {
        Effect::Listen { task, .. } | Effect::StopListening { task, .. } => !brief.contains(task),
        _ => true,
    });
    effects
}

fn asked_anew(fact: &Fact) -> &[Fact] {
    match fact {
        Fact::ExecutionForked { asked, .. } => asked,
        _ => &[],
    }
}

fn effect(fact: &Fact) -> Option<Effect> {
    Some(match fact {
        Fact::CallRequested { task, function, arguments } => {
            Effect::Call { task: task.clone(), function: *function, arguments: arguments.clone() }
        }
        Fact::CallCancelled { task } => Effect::CancelCall { task: task.clone() },
        Fact::ChildRequested { task, namespace, name, version, input, wait } => {
            Effect::StartChild {
                task: task.clone(),
                namespace: namespace.clone(),
                name: name.clone(),
                version: version.clone(),
                input: input.clone(),
                wait: *wait,
            }
        }
        Fact::ChildResumed { task } => Effect::ResumeChild { task: task.clone() },
        Fact::ChildCancelled { task } => Effect::CancelChild { task: task.clone() },
        Fact::ListeningStarted { task, interests, .. }
        | Fact::ListeningResumed { task, interests } => {
            Effect::Listen { task: task.clone(), interests: interests.clone() }
        }
        Fact::ListeningEnded { task, interests, .. } => {
            Effect::StopListening { task: task.clone(), interests: interests.clone() }
        }
        Fact::EventEmitted { task, event } => {
            Effect::Emit { task: task.clone(), event: event.clone() }
        }
        Fact::TimerSet { timer, at, .. } => Effect::SetTimer { timer: timer.clone(), at: *at },
        Fact::TimerCancelled { timer } => Effect::CancelTimer { timer: timer.clone() },
        Fact::ExecutionStarted { .. } => Effect::Started,
        Fact::ExecutionForked { origin, position, .. } => {
            Effect::Forked { origin: origin.clone(), position: *position }
        }
        Fact::ExecutionCompleted { output, .. } => Effect::Completed { output: output.clone() },
        Fact::ExecutionFaulted { error, .. } => Effect::Faulted { error: error.clone() },
        Fact::ExecutionCancelled { reason, .. } => Effect::Cancelled { reason: reason.clone() },
        Fact::ExecutionSuspended { reason, .. } => Effect::Suspended { reason: reason.clone() },
        Fact::ExecutionResumed { .. } => Effect::Resumed,
        Fact::ExecutionRetried { .. } => Effect::Retried,
        Fact::ExecutionWaiting { task, .. } => Effect::Waiting { task: task.clone() },
        Fact::TaskStarted { .. }
        | Fact::TaskSkipped { .. }
        | Fact::TaskCompleted { .. }
        | Fact::TaskFaulted { .. }
        | Fact::TaskCancelled { .. }
        | Fact::ErrorCaught { .. }
        | Fact::TaskRetried { .. }
        | Fact::LoopStarted { .. }
        | Fact::IterationStarted { .. }
        | Fact::EventConsumed { .. }
        | Fact::ItemStarted { .. }
        | Fact::ItemCompleted { .. }
        | Fact::SignalKept { .. }
        | Fact::TimerFired { .. }
        | Fact::InputHeld { .. }
        | Fact::FunctionCalled { .. }
        | Fact::TaskExtended { .. }
        | Fact::ContextSet { .. }
        | Fact::DataSet { .. } => return None,
    })
}
