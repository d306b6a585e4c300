//! How facts change the state. Nothing is decided here and nothing can fail: a fact that makes no
//! sense to this definition (a journal of another one) changes nothing.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Detail, Execution, Phase, Run, Status, TaskStatus, Timer};
use crate::model::{Kind, NodeId};
use crate::{Error, Fact, Handling};

impl Execution {
    /// Brings the state up to date with one fact, in the order of the journal.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::ExecutionStarted { input, transformed, at } => {
                self.begin(input, transformed.as_ref(), *at);
            }
            Fact::TaskStarted { task, pointer, parent, attempt, input, at, .. } => {
                let Some(node) = self.definition.node_at(pointer) else { return };
                let key = Key { task, parent, attempt: *attempt };
                self.start(key, node, input.as_ref(), *at);
            }
            Fact::TaskSkipped { task, pointer, parent, attempt, at, .. } => {
                let Some(node) = self.definition.node_at(pointer) else { return };
                let key = Key { task, parent, attempt: *attempt };
                if let Some(run) = self.start(key, node, None, *at) {
                    // The input passes through, as the output of the task that did not run.
                    self.pass_on(run, None);
                    self.end_run(run, TaskStatus::Skipped, *at);
                }
            }
            Fact::TaskCompleted { task, output, at, .. } => {
                let Some(run) = self.find(task) else { return };
                self.pass_on(run, output.as_ref());
                self.end_run(run, TaskStatus::Completed, *at);
            }
            Fact::TaskFaulted { task, error, at } => {
                let Some(run) = self.find(task) else { return };
                self.change(run, |run| run.error = Some(Arc::new(error.clone())));
                self.end_run(run, TaskStatus::Faulted, *at);
            }
            Fact::TaskCancelled { task, at } => {
                let Some(run) = self.find(task) else { return };
                self.end_run(run, TaskStatus::Cancelled, *at);
            }
            Fact::ExecutionCompleted { output, at } => {
                self.output = Some(Arc::new(output.clone()));
                self.finish(Status::Completed, TaskStatus::Completed, *at);
            }
            Fact::ExecutionFaulted { error, at } => {
                self.error = Some(error.clone());
                self.finish(Status::Faulted, TaskStatus::Faulted, *at);
            }
            Fact::ExecutionCancelled { at, .. } => {
                self.finish(Status::Cancelled, TaskStatus::Cancelled, *at);
            }
            other => self.apply_detail(other),
        }
    }

    fn apply_detail(&mut self, fact: &Fact) {
        match fact {
            Fact::ErrorCaught { task, error, handling } => self.caught(task, error, *handling),
            Fact::TaskRetried { task, attempt } => self.detail(task, |run| {
                run.data = run.input.clone();
                run.detail = Detail::Try { attempt: *attempt, phase: Phase::Trying };
            }),
            Fact::LoopStarted { task, items } => self.detail(task, |run| {
                run.detail = Detail::Loop { items: Arc::new(items.clone()), index: None };
            }),
            Fact::IterationStarted { task, index: now } => self.detail(task, |run| {
                if let Detail::Loop { index, .. } = &mut run.detail {
                    *index = Some(*now);
                }
            }),
            Fact::CallRequested { task, .. } => {
                self.calls += 1;
                self.detail(task, |run| run.detail = Detail::Call);
            }
            Fact::CallCancelled { task } => {
                if let Some(run) = self.find(task) {
                    self.answered(run);
                }
            }
            Fact::TimerSet { timer, task, purpose, .. } => {
                if let Some(run) = self.find(task) {
                    self.timers.insert(timer.clone(), Timer { run, purpose: *purpose });
                }
            }
            Fact::TimerFired { timer } | Fact::TimerCancelled { timer } => {
                self.timers.remove(timer);
            }
            Fact::ContextSet { context, .. } => self.context = Arc::new(context.clone()),
            _ => {}
        }
    }

    fn begin(&mut self, input: &Value, transformed: Option<&Value>, at: DateTime<Utc>) {
        self.input = Arc::new(input.clone());
        let data = transformed.map_or_else(|| self.input.clone(), |value| Arc::new(value.clone()));
        self.insert(Run {
            key: Arc::from(""),
            node: None,
            parent: 0,
            attempt: 1,
            status: TaskStatus::Running,
            started_at: at,
            ended_at: None,
            raw: self.input.clone(),
            input: data.clone(),
            data,
            detail: Detail::Plain,
            error: None,
        });
    }

    fn start(
        &mut self,
        key: Key<'_>,
        node: NodeId,
        input: Option<&Value>,
        at: DateTime<Utc>,
    ) -> Option<usize> {
        let parent = self.find(key.parent)?;
        let raw = self.runs.get(parent)?.data.clone();
        let input = input.map_or_else(|| raw.clone(), |value| Arc::new(value.clone()));
        let detail = match &self.definition.node(node)?.kind {
            Kind::Fork { branches, .. } => Detail::Fork { outputs: vec![None; branches.len()] },
            Kind::Try(_) => Detail::Try { attempt: 1, phase: Phase::Trying },
            _ => Detail::Plain,
        };
        if let Some(place) = key.place() {
            self.attempts.insert(place.into(), key.attempt);
        }
        Some(self.insert(Run {
            key: key.task.into(),
            node: Some(node),
            parent,
            attempt: key.attempt,
            status: TaskStatus::Running,
            started_at: at,
            ended_at: None,
            raw,
            data: input.clone(),
            input,
            detail,
            error: None,
        }))
    }

    /// Gives a run's output (what it held, where none is named) to the run around it.
    fn pass_on(&mut self, run: usize, output: Option<&Value>) {
        let Some(ended) = self.runs.get(run) else { return };
        let output = output.map_or_else(|| ended.data.clone(), |value| Arc::new(value.clone()));
        let (parent, node) = (ended.parent, ended.node);
        let position = node.and_then(|node| self.definition.node(node)).map(|node| node.position);
        self.change(parent, |parent| match &mut parent.detail {
            Detail::Fork { outputs } => {
                if let Some(place) = position.and_then(|position| outputs.get_mut(position)) {
                    *place = Some(output);
                }
            }
            _ => parent.data = output,
        });
    }

    fn caught(&mut self, task: &str, error: &Error, handling: Handling) {
        self.detail(task, |run| {
            let Detail::Try { phase, .. } = &mut run.detail else { return };
            run.data = run.input.clone();
            *phase = match handling {
                Handling::Retry => Phase::Pausing,
                Handling::Do | Handling::Ignore => Phase::Catching(Arc::new(error.clone())),
            };
        });
    }

    /// The result of a call is there, or no longer wanted.
    fn answered(&mut self, run: usize) {
        if self.runs.get(run).is_some_and(|run| run.detail == Detail::Call) {
            self.calls = self.calls.saturating_sub(1);
            self.change(run, |run| run.detail = Detail::Plain);
        }
    }

    fn end_run(&mut self, run: usize, status: TaskStatus, at: DateTime<Utc>) {
        self.answered(run);
        self.change(run, |run| {
            run.status = status;
            run.ended_at = Some(at);
            // Only the view is needed from now on: a long execution must not keep every value.
            run.raw = Arc::default();
            run.input = Arc::default();
            run.data = Arc::default();
            run.detail = Detail::Plain;
        });
    }

    fn finish(&mut self, status: Status, run: TaskStatus, at: DateTime<Utc>) {
        self.end = Some(status);
        self.timers.clear();
        self.calls = 0;
        self.end_run(0, run, at);
    }

    fn insert(&mut self, run: Run) -> usize {
        let index = self.runs.len();
        self.by_key.insert(run.key.clone(), index);
        self.runs.push(Arc::new(run));
        index
    }

    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    fn detail(&mut self, task: &str, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.find(task) {
            self.change(run, change);
        }
    }

    fn change(&mut self, run: usize, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.runs.get_mut(run) {
            change(Arc::make_mut(run));
        }
    }
}

struct Key<'a> {
    task: &'a str,
    parent: &'a str,
    attempt: u32,
}

impl Key<'_> {
    /// The key of the first run in the same place; `None` for that run itself.
    fn place(&self) -> Option<&str> {
        if self.attempt < 2 {
            return None;
        }
        self.task.rsplit_once('@').map(|(place, _)| place)
    }
}
