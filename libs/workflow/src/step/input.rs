//! What comes from outside.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::arguments::{Outset, Scope};
use super::begin::length;
use super::bounds::check_incoming;
use super::{Machine, Move};
use crate::execution::{Detail, Phase, Timer};
use crate::model::{Kind, Node, Then};
use crate::size::size;
use crate::{Error, ErrorType, Fact, Parent, Purpose, Status, limits};

/// Something that came from outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// The execution is to begin.
    Start {
        /// The workflow's input.
        input: Value,
    },
    /// The execution is to begin, as the child of a task of another one.
    StartChild {
        /// The workflow's input.
        input: Value,
        /// The task.
        parent: Parent,
    },
    /// A called function gave its result, or a workflow that a task runs ended well.
    Completed {
        /// Key of the `call` task.
        task: String,
        /// The result.
        output: Value,
    },
    /// A called function failed.
    Failed {
        /// Key of the `call` task.
        task: String,
        /// Why.
        error: Error,
    },
    /// A timer fired.
    TimerFired {
        /// Name of the timer.
        timer: String,
    },
    /// An event came that a task listens for, or a signal for the whole execution.
    Event {
        /// Key of the task; none where every task that listens may have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        task: Option<String>,
        /// Its place among all events.
        position: u64,
        /// The event in its structured JSON form.
        event: Value,
    },
    /// The execution is to be cancelled.
    Cancel {
        /// Who wants it and why.
        reason: String,
    },
    /// The execution is to stand still.
    Suspend {
        /// Who wants it and why.
        reason: String,
    },
    /// The suspended execution is to go on.
    Resume,
    /// The faulted execution is to go on from the task that failed.
    Retry,
    /// The same, where workflows that tasks ran can go on as well.
    RetryWith {
        /// Keys of the tasks whose workflows cannot go on and begin anew. All others go on: who looked before another retry
        /// was done does not name what came of that.
        anew: Vec<String>,
        /// The task that runs the execution goes on: then one that was cancelled does so, too.
        is_child: bool,
    },
}

impl Machine<'_> {
    pub(super) fn take(&mut self, input: &Input) {
        if self.held(input) {
            return;
        }
        match input {
            Input::Start { input } => self.start(input, None),
            Input::StartChild { input, parent } => self.start(input, Some(parent)),
            Input::Completed { task, output } => self.answered(task, output),
            Input::Failed { task, error } => {
                let Some(run) = self.waiting_call(task) else { return };
                self.later(Move::Fault { run, error: error.clone() });
            }
            Input::TimerFired { timer } => self.fired(timer),
            Input::Event { task, position, event } => {
                self.heard(task.as_deref(), *position, event);
            }
            Input::Cancel { reason } => {
                self.cancel_inside(0);
                self.emit(Fact::ExecutionCancelled { reason: reason.clone(), at: self.now });
            }
            Input::Suspend { reason } => self.suspend(reason),
            Input::Resume => self.resume(),
            Input::Retry => self.retry_again(input, &[]),
            Input::RetryWith { anew, .. } => {
                let mut children = self.state.stopped_children();
                children.retain(|child| !anew.contains(child));
                self.retry_again(input, &children);
            }
        }
    }

    fn retry_again(&mut self, input: &Input, children: &[String]) {
        if self.state.goes_on_with(input) {
            self.retry_fallen(children);
        }
    }

    fn start(&mut self, input: &Value, parent: Option<&Parent>) {
        if self.state.status() != Status::Pending {
            return;
        }
        let definition = self.state.definition.clone();
        let model = definition.model();
        let checked = check_incoming(input, "the input").and_then(|()| {
            self.check_schema(model.input.schema.as_ref(), input, "the workflow's input")
        });
        let transformed = checked.and_then(|()| match &model.input.template {
            None => Ok(None),
            Some(template) => {
                let value = template.evaluate(input, &Outset { machine: self, input })?;
                Ok((value != *input).then_some(value))
            }
        });
        let (transformed, error) = match transformed {
            Ok(transformed) => (transformed, None),
            Err(error) => (None, Some(error.or_instance("/input"))),
        };
        // An input that is too large must not come into the journal either.
        let kept = if size(input) > limits::VALUE_SIZE { Value::Null } else { input.clone() };
        let (parent, payer, at) = (parent.cloned(), self.state.payer.clone(), self.now);
        self.emit(Fact::ExecutionStarted { input: kept, transformed, parent, payer, at });
        if let Some(error) = error {
            return self.fail(error);
        }
        if let Some(timeout) = &model.timeout {
            match length(timeout, &self.data(0), &Scope::of(self, 0)) {
                Ok(length) => self.set_timer(0, Purpose::Timeout, length),
                Err(error) => return self.fail(error.or_instance("/timeout")),
            }
        }
        match model.root.first() {
            Some(first) => self.later(Move::Enter { parent: 0, node: *first }),
            None => self.complete(),
        }
    }

    fn answered(&mut self, task: &str, output: &Value) {
        let Some(run) = self.waiting_call(task) else { return };
        match check_incoming(output, "the result of the call") {
            Ok(()) => {
                let then = self.with_node(run, |node| node.then.clone()).unwrap_or(Then::Continue);
                let unwanted = |node: &Node| matches!(&node.kind, Kind::Child(c) if !c.output);
                let output = match self.with_node(run, unwanted) {
                    Some(true) => Arc::default(),
                    _ if self.with_node(run, |node| node.kind.is_detached()) == Some(true) => {
                        self.data(run)
                    }
                    _ => Arc::new(output.clone()),
                };
                self.later(Move::Finish { run, output, then });
            }
            Err(error) => self.fault(run, error),
        }
    }

    fn waiting_call(&self, task: &str) -> Option<usize> {
        let run = self.state.find(task)?;
        self.get(run).is_some_and(|run| *run.detail() == Detail::Call).then_some(run)
    }

    fn fired(&mut self, timer: &str) {
        let Some(Timer { run, purpose }) = self.state.timers.get(timer).copied() else { return };
        self.emit(Fact::TimerFired { timer: timer.to_owned() });
        match purpose {
            Purpose::Timeout => {
                let detail = match self.with_node(run, |node| node.name.clone()) {
                    Some(name) => format!("the task `{name}` took longer than its timeout"),
                    None => "the workflow took longer than its timeout".to_owned(),
                };
                self.cancel_call(run);
                self.later(Move::Fault { run, error: Error::new(ErrorType::Timeout, detail) });
            }
            Purpose::Wait => {
                let output = self.data(run);
                let then = self.with_node(run, |node| node.then.clone()).unwrap_or(Then::Continue);
                self.later(Move::Finish { run, output, then });
            }
            Purpose::Retry => self.retry(run),
            Purpose::Attempt => self.attempt_over(run),
            Purpose::Listen => self.listened_enough(run),
        }
    }

    /// Runs the tasks of a `try` again.
    pub(super) fn retry(&mut self, run: usize) {
        let Detail::Try { attempt, phase: Phase::Pausing } = self.detail(run) else { return };
        let attempt = attempt + 1;
        self.emit(Fact::TaskRetried { task: self.key(run), attempt });
        let definition = self.state.definition.clone();
        let node = self.get(run).and_then(|run| run.node);
        let Some(Kind::Try(try_)) = definition.kind(node) else { return };
        self.limit_attempt(run, try_);
        if let Some(node) = try_.body.first().copied() {
            self.later(Move::Enter { parent: run, node });
        }
    }
}
