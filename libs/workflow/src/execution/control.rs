//! Suspending, going on and retrying: what they change in a state, and what may be asked of it.

use serde::{Deserialize, Serialize};

use super::{Detail, Execution, Live, Phase, Status, TaskStatus};
use crate::model::Kind;
use crate::{Fact, Input};

/// An execution that stands still.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hold {
    /// What came meanwhile, in its order; acted on when the execution goes on.
    pub(crate) inputs: Vec<Input>,
}

/// How a run that has fallen goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// It is under way again, with what it held.
    Revived,
    /// It is under way again, and so is the workflow that it runs.
    WithChild,
    /// It begins anew.
    Anew,
}

impl Execution {
    /// Whether the answer of a task's call is still waited for.
    pub fn is_waiting_for(&self, task: &str) -> bool {
        self.find(task)
            .and_then(|run| self.runs.get(run))
            .is_some_and(|run| *run.detail() == Detail::Call)
    }

    /// Whether it can go on from the task that failed: it has faulted, and a task did, not the
    /// workflow's own input or output.
    pub fn is_retriable(&self) -> bool {
        self.end == Some(Status::Faulted) && self.fallen.keys().any(|run| *run != 0)
    }

    /// Whether it can go on when the task that runs it does: it has faulted or was cancelled with
    /// tasks under way.
    pub fn is_revivable(&self) -> bool {
        let stopped = self.end == Some(Status::Cancelled) && self.is_awaited();
        (stopped || self.end == Some(Status::Faulted)) && self.fallen.keys().any(|run| *run != 0)
    }

    /// Keys of the tasks that would begin anew in a retry and whose workflows may go on instead.
    pub fn stopped_children(&self) -> Vec<String> {
        let again = self.again(&[]);
        let anew = again.iter().filter(|(_, how)| *how == Again::Anew);
        let child = anew.filter(|(run, _)| {
            let live = self.fallen.get(run);
            live.is_some_and(|live| self.ran_child(*run, live))
        });
        child.filter_map(|(run, _)| self.key_of(*run)).map(str::to_owned).collect()
    }

    /// Whether the task that runs it waits for its end.
    pub(super) fn is_awaited(&self) -> bool {
        self.parent.as_ref().is_some_and(|parent| !parent.detached)
    }

    /// Whether a run that has fallen may have started a workflow whose end it waited for.
    fn ran_child(&self, run: usize, live: &Live) -> bool {
        let kind = self.definition.kind(self.runs.get(run).and_then(|run| run.node));
        matches!(kind, Some(Kind::Child(child)) if child.wait) && live.detail == Detail::Plain
    }

    /// Whether this input lets an execution go on that has ended.
    pub(crate) fn goes_on_with(&self, input: &Input) -> bool {
        match input {
            Input::Retry | Input::RetryWith { is_child: false, .. } => self.is_retriable(),
            Input::RetryWith { is_child: true, .. } => self.is_revivable(),
            _ => false,
        }
    }

    /// Why it was cancelled or suspended, as whoever wanted it said; empty where neither is so.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn apply_control(&mut self, fact: &Fact) {
        match fact {
            Fact::ExecutionSuspended { reason, .. } => {
                self.reason.clone_from(reason);
                self.hold = Some(Hold { inputs: Vec::new() });
            }
            Fact::InputHeld { input } => {
                if let Some(hold) = &mut self.hold {
                    hold.inputs.push(input.clone());
                }
            }
            Fact::ExecutionResumed { .. } => {
                self.reason.clear();
                self.hold = None;
            }
            Fact::ExecutionRetried { revived, .. } => self.revive(revived),
            _ => {}
        }
    }

    /// Keeps what a run held that fell: it may have to go on.
    pub(super) fn fall(&mut self, run: usize) {
        if let Some(live) = self.runs.get_mut(run).and_then(|run| run.live.take()) {
            self.fallen.insert(run, live);
        }
    }

    /// What fell inside a run does not matter any more: the error was dealt with, or others won.
    pub(super) fn forget_fallen(&mut self, around: usize) {
        if self.fallen.is_empty() {
            return;
        }
        let runs = &self.runs;
        let parent = |run: usize| runs.get(run).map_or(0, |run| run.parent);
        self.fallen.retain(|run, _| {
            // A run around another one always began earlier.
            let mut other = parent(*run);
            while other > around {
                other = parent(other);
            }
            other != around
        });
    }

    /// The runs with which a retry goes on, those around others first.
    pub(crate) fn again(&self, children: &[String]) -> Vec<(usize, Again)> {
        let (mut found, mut open) = (Vec::new(), vec![0]);
        while let Some(run) = open.pop() {
            let Some(live) = self.fallen.get(&run) else { continue };
            let inside = self.fallen.keys().copied().filter(|other| {
                *other != run && self.runs.get(*other).is_some_and(|other| other.parent == run)
            });
            match &live.detail {
                Detail::Try { phase: Phase::Pausing, .. } => found.push((run, Again::Revived)),
                _ => {
                    let before = open.len();
                    open.extend(inside);
                    let is_around = open.len() > before || run == 0;
                    let goes_on = || {
                        let key = self.key_of(run).unwrap_or_default();
                        children.iter().any(|child| child == key) && self.ran_child(run, live)
                    };
                    let how = match () {
                        () if is_around => Again::Revived,
                        () if goes_on() => Again::WithChild,
                        () => Again::Anew,
                    };
                    found.push((run, how));
                }
            }
        }
        found.sort_unstable_by_key(|(run, _)| *run);
        found
    }

    fn revive(&mut self, revived: &[String]) {
        self.end = None;
        self.error = None;
        self.reason.clear();
        self.retries += 1;
        for run in revived.iter().filter_map(|key| self.find(key)).collect::<Vec<_>>() {
            let (Some(mut live), Some(again)) = (self.fallen.remove(&run), self.runs.get_mut(run))
            else {
                continue;
            };
            live.inside.clear();
            live.timers.clear();
            if let Detail::Fork { lost, .. } = &mut live.detail {
                *lost = 0;
            }
            again.status = TaskStatus::Running;
            again.ended_at = None;
            again.error = None;
            again.live = Some(live);
            let parent = again.parent;
            if parent != run
                && let Some(around) = self.live_mut(parent)
            {
                around.inside.insert(run);
            }
        }
        self.fallen.clear();
    }
}
