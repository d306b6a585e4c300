//! Errors: from the task that raised them outward to a `try` that catches them.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::arguments::Scope;
use super::{Machine, Move};
use crate::execution::{Detail, Phase};
use crate::model::{Backoff, Kind, Retry, Then, Try};
use crate::{Error, ErrorType, Fact, Handling, Purpose};

impl Machine<'_> {
    /// Ends a run with an error, and the runs around it up to one that copes with it.
    pub(super) fn fault(&mut self, run: usize, error: Error) {
        let pointer = self.with_node(run, |node| node.pointer.clone()).unwrap_or_default();
        let error = super::bounds::short(error.or_instance(&pointer));
        let mut run = run;
        loop {
            self.cancel_inside(run);
            self.cancel_timers(run);
            if run == 0 {
                return self.emit(Fact::ExecutionFaulted { error, at: self.now });
            }
            let task = self.key(run);
            self.emit(Fact::TaskFaulted { task, error: error.clone(), at: self.now });
            let parent = self.parent(run);
            match self.detail(parent) {
                _ if self.is_extension(run) => {}
                Detail::Try { attempt, phase: Phase::Trying } => {
                    let attempt = *attempt;
                    match self.caught(parent, attempt, &error) {
                        Ok(true) => return,
                        Ok(false) => {}
                        // The catch itself failed: its error is the one to go on with.
                        Err(other) => {
                            return self.later(Move::Fault { run: parent, error: other });
                        }
                    }
                }
                Detail::Fork { .. } if self.race_goes_on(parent) => return,
                _ => {}
            }
            run = parent;
        }
    }

    /// Sets the time limit of the attempt that begins.
    pub(super) fn limit_attempt(&mut self, run: usize, try_: &Try) {
        if let Some(limit) = try_.retry.as_ref().and_then(|retry| retry.attempt) {
            self.set_timer(run, Purpose::Attempt, limit);
        }
    }

    /// An attempt took too long: what it does is stopped, and the `try` decides as about an error
    /// of its tasks.
    pub(super) fn attempt_over(&mut self, run: usize) {
        let Detail::Try { attempt, phase: Phase::Trying } = self.detail(run) else { return };
        let attempt = *attempt;
        let Some((name, pointer)) =
            self.with_node(run, |node| (node.name.clone(), node.pointer.clone()))
        else {
            return;
        };
        self.cancel_inside(run);
        let detail = format!("attempt {attempt} of `{name}` took longer than its limit");
        let error = Error::new(ErrorType::Timeout, detail).or_instance(&pointer);
        match self.caught(run, attempt, &error) {
            Ok(true) => {}
            Ok(false) => self.later(Move::Fault { run, error }),
            Err(error) => self.later(Move::Fault { run, error }),
        }
    }

    /// Cancels the time limit of an attempt that is over.
    fn cancel_attempt(&mut self, run: usize, attempt: u32) {
        let timer = format!("{}#attempt-{attempt}", self.key(run));
        if self.live(run).is_some_and(|live| live.timers.contains(&timer)) {
            self.emit(Fact::TimerCancelled { timer });
        }
    }

    /// Whether a competing fork still has a branch that may win.
    fn race_goes_on(&self, fork: usize) -> bool {
        let compete = self
            .with_node(fork, |node| matches!(node.kind, Kind::Fork { compete: true, .. }))
            .unwrap_or(false);
        match self.detail(fork) {
            Detail::Fork { outputs, lost, .. } => compete && *lost < outputs.len(),
            _ => false,
        }
    }

    /// Lets a `try` handle an error; false means that it is not for it.
    fn caught(&mut self, run: usize, attempt: u32, error: &Error) -> Result<bool, Error> {
        let definition = self.state.definition.clone();
        let Some(Kind::Try(try_)) = definition.kind(self.get(run).and_then(|run| run.node)) else {
            return Ok(false);
        };
        if !try_.filter.matches(error) || !self.wanted(run, try_, error)? {
            return Ok(false);
        }
        self.cancel_attempt(run, attempt);
        let task = self.key(run);
        let caught = |handling| Fact::ErrorCaught { task, error: error.clone(), handling };
        if let Some(retry) = &try_.retry
            && self.retries(run, try_, retry, error)?
        {
            self.emit(caught(Handling::Retry));
            let delay = delay(retry, attempt, &self.state.id, &self.key(run));
            if delay.is_zero() {
                self.retry(run);
            } else {
                self.set_timer(run, Purpose::Retry, delay);
            }
            return Ok(true);
        }
        match (&try_.handler, &try_.retry) {
            (Some(handler), _) => {
                self.emit(caught(Handling::Do));
                match handler.first() {
                    Some(first) => self.later(Move::Enter { parent: run, node: *first }),
                    None => self.leave(run),
                }
            }
            // Retries that did not help are no reason to go on as if nothing had happened.
            (None, Some(_)) => return Ok(false),
            (None, None) => {
                self.emit(caught(Handling::Ignore));
                self.leave(run);
            }
        }
        Ok(true)
    }

    fn leave(&mut self, run: usize) {
        let then = self.with_node(run, |node| node.then.clone()).unwrap_or(Then::Continue);
        let output = self.data(run);
        self.later(Move::Finish { run, output, then });
    }

    fn wanted(&self, run: usize, try_: &Try, error: &Error) -> Result<bool, Error> {
        self.holds(run, try_, (try_.when.as_ref(), try_.except_when.as_ref()), error)
    }

    /// Whether a `when` holds and an `exceptWhen` does not, where they are given.
    fn holds(
        &self,
        run: usize,
        try_: &Try,
        (when, except): (
            Option<&crate::expression::Expression>,
            Option<&crate::expression::Expression>,
        ),
        error: &Error,
    ) -> Result<bool, Error> {
        let Some(input) = self.live(run).map(|live| live.input.clone()) else { return Ok(false) };
        let scope = Scope::of(self, run).with_error(&try_.variable, error);
        let test = |expression: &crate::expression::Expression| expression.test(&input, &scope);
        Ok(when.map_or(Ok(true), test)? && !except.map_or(Ok(false), test)?)
    }

    /// Whether there is to be another attempt.
    fn retries(&self, run: usize, try_: &Try, retry: &Retry, error: &Error) -> Result<bool, Error> {
        let Detail::Try { attempt, .. } = self.detail(run) else { return Ok(false) };
        if retry.count.is_some_and(|count| *attempt > count) {
            return Ok(false);
        }
        let began = self.get(run).map_or(self.now, |run| run.started_at);
        let taken = (self.now - began).to_std().unwrap_or_default();
        if retry.duration.is_some_and(|limit| taken >= limit) {
            return Ok(false);
        }
        self.holds(run, try_, (retry.when.as_ref(), retry.except_when.as_ref()), error)
    }
}

/// The pause after attempt number `attempt`.
///
/// The jitter comes from a hash and not from chance, so that a step stays a pure function; it
/// spreads executions over the range all the same.
fn delay(retry: &Retry, attempt: u32, execution: &str, task: &str) -> Duration {
    const LONGEST: Duration = Duration::from_secs(86_400);
    let factor = match retry.backoff {
        Backoff::Constant => 1,
        Backoff::Linear => attempt,
        Backoff::Exponential => 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX),
    };
    let pause = retry.delay.saturating_mul(factor).min(LONGEST.max(retry.delay));
    let Some((from, to)) = retry.jitter else { return pause };
    let hash = Sha256::digest(format!("{execution}\n{task}\n{attempt}"));
    let random = hash.iter().take(8).fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
    let range = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
    pause + from + Duration::from_millis(random % range.saturating_add(1).max(1))
}
