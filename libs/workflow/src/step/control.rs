//! Standing still, going on, and beginning again where something failed.

use std::time::Duration;

use super::arguments::Scope;
use super::begin::length;
use super::bounds::check_incoming;
use super::{Machine, Move};
use crate::execution::{Again, Detail};
use crate::model::Length;
use crate::{Error, Fact, Input, Purpose, Status, limits};

impl Machine<'_> {
    pub(super) fn suspend(&mut self, reason: &str) {
        if !matches!(self.state.status(), Status::Running | Status::Waiting) {
            return;
        }
        let (reason, tasks) = (reason.to_owned(), self.innermost());
        self.emit(Fact::ExecutionSuspended { reason, tasks, at: self.now });
    }

    /// Goes on with what came meanwhile, in its order.
    pub(super) fn resume(&mut self) {
        let Some(hold) = self.state.hold.clone() else { return };
        let tasks = self.innermost();
        self.emit(Fact::ExecutionResumed { tasks, at: self.now });
        for input in &hold.inputs {
            self.take(input);
            self.run();
            if self.state.status().is_ended() {
                return;
            }
        }
    }

    /// Keeps an input for later, where the execution stands still. False where it is not to wait.
    pub(super) fn held(&mut self, input: &Input) -> bool {
        let Some(hold) = &self.state.hold else { return false };
        let same = |other: &Input| match (input, other) {
            (
                Input::Completed { task, .. } | Input::Failed { task, .. },
                Input::Completed { task: other, .. } | Input::Failed { task: other, .. },
            ) => task == other,
            (Input::TimerFired { timer }, Input::TimerFired { timer: other }) => timer == other,
            (
                Input::Event { task, position, .. },
                Input::Event { task: other, position: at, .. },
            ) => task == other && position == at,
            _ => false,
        };
        let is_new = !hold.inputs.iter().any(same);
        let is_wanted = match input {
            Input::Completed { task, .. } | Input::Failed { task, .. } => {
                self.state.is_waiting_for(task)
            }
            Input::TimerFired { timer } => self.state.timers.contains_key(timer),
            Input::Event { task, .. } => {
                hold.inputs.len() < limits::HELD_INPUTS
                    && task.as_deref().is_none_or(|task| self.listens(task))
            }
            Input::Start { .. } | Input::StartChild { .. } => false,
            Input::Cancel { .. }
            | Input::Suspend { .. }
            | Input::Resume
            | Input::Retry
            | Input::RetryWith { .. } => {
                return false;
            }
        };
        if is_new && is_wanted {
            let input = bounded(input);
            self.emit(Fact::InputHeld { input });
        }
        true
    }

    fn listens(&self, task: &str) -> bool {
        let run = self.state.find(task);
        run.is_some_and(|run| matches!(self.detail(run), Detail::Listen(_)))
    }

    /// Goes on from what failed: it begins anew, as does what the fault stopped. What is around it
    /// is under way again, and what had ended well stays so. The workflows of `children` go on, too.
    pub(super) fn retry_fallen(&mut self, children: &[String]) {
        let again = self.state.again(children);
        let anew: Vec<_> = again
            .iter()
            .filter(|(_, how)| *how == Again::Anew)
            .filter_map(|(run, _)| self.get(*run).and_then(|run| Some((run.parent, run.node?))))
            .collect();
        let revived: Vec<_> = again.into_iter().filter(|(_, how)| *how != Again::Anew).collect();
        let keys = revived.iter().map(|(run, _)| self.key(*run)).collect();
        self.emit(Fact::ExecutionRetried { revived: keys, at: self.now });
        for (run, how) in revived {
            if let Err(error) = self.time_again(run) {
                return self.later(Move::Fault { run, error });
            }
            if how == Again::WithChild {
                self.emit(Fact::ChildResumed { task: self.key(run) });
            }
            // One that was in its pause does not wait for the rest of it.
            self.retry(run);
            self.listen_again(run);
        }
        for (parent, node) in anew {
            self.later(Move::Enter { parent, node });
        }
    }

    /// The time limit of a run that is under way again begins anew. Its timer has another name: the
    /// old one may still be on its way.
    fn time_again(&mut self, run: usize) -> Result<(), Error> {
        let definition = self.state.definition.clone();
        let limit: Option<&Length> = match self.get(run).and_then(|run| run.node) {
            None => definition.model().timeout.as_ref(),
            Some(node) => definition.node(node).and_then(|node| node.timeout.as_ref()),
        };
        let Some(limit) = limit else { return Ok(()) };
        let input = self.live(run).map(|live| live.input.clone()).unwrap_or_default();
        let length: Duration = length(limit, &input, &Scope::of(self, run))?;
        let task = self.key(run);
        let timer = format!("{task}#timeout+{}", self.state.retries);
        self.emit(Fact::TimerSet { timer, task, purpose: Purpose::Timeout, at: self.now + length });
        Ok(())
    }

    /// Keys of the runs under way that have none inside.
    fn innermost(&self) -> Vec<String> {
        let is_innermost = |run: &usize| self.live(*run).is_some_and(|live| live.inside.is_empty());
        self.inside(0).into_iter().filter(is_innermost).map(|run| self.key(run)).collect()
    }

    /// Tells that nothing is at work any more, where that is new.
    pub(super) fn tell_waiting(&mut self, before: Status) {
        if before == Status::Waiting || self.state.status() != Status::Waiting {
            return;
        }
        let task = self.innermost().into_iter().next().unwrap_or_default();
        self.emit(Fact::ExecutionWaiting { task, at: self.now });
    }
}

/// A result that is too large must not come into the journal either.
fn bounded(input: &Input) -> Input {
    match input {
        Input::Completed { task, output } => {
            match check_incoming(output, "the result of the call") {
                Ok(()) => input.clone(),
                Err(error) => Input::Failed { task: task.clone(), error },
            }
        }
        other => other.clone(),
    }
}
