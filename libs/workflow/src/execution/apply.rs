//! How facts change the state. Nothing is decided here and nothing can fail: a fact that makes no
//! sense to this definition (a journal of another one) changes nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Detail, Execution, Live, Origin, Phase, Run, Status, TaskStatus, Timer};
use crate::model::{Kind, NodeId};
use crate::{Error, Fact, Handling};

impl Execution {
    /// Brings the state up to date with one fact, in the order of the journal.
    pub fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::ExecutionStarted { input, transformed, parent, payer, at } => {
                self.parent.clone_from(parent);
                self.payer.clone_from(payer);
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
                self.forget_fallen(run);
            }
            Fact::TaskFaulted { task, error, at } => {
                let Some(run) = self.find(task) else { return };
                if let Some(run) = self.runs.get_mut(run) {
                    run.error = Some(Arc::new(error.clone()));
                }
                self.lose(run);
                self.answered(run);
                self.fall(run);
                self.end_run(run, TaskStatus::Faulted, *at);
            }
            Fact::TaskCancelled { task, at } => {
                let Some(run) = self.find(task) else { return };
                self.answered(run);
                self.fall(run);
                self.end_run(run, TaskStatus::Cancelled, *at);
            }
            Fact::ExecutionForked { origin, position, .. } => {
                self.origin = Some(Origin { execution: origin.clone(), position: *position });
                // Its end is nobody's answer: the one that it was copied from still gives that.
                self.parent = None;
            }
            Fact::ExecutionCompleted { output, at } => {
                self.output = Some(Arc::new(output.clone()));
                self.finish(Status::Completed, TaskStatus::Completed, *at);
            }
            Fact::ExecutionFaulted { error, at } => {
                self.error = Some(error.clone());
                self.fall(0);
                self.finish(Status::Faulted, TaskStatus::Faulted, *at);
            }
            Fact::ExecutionCancelled { reason, at } => self.cancel(reason, *at),
            other => self.apply_detail(other),
        }
    }

    fn apply_detail(&mut self, fact: &Fact) {
        match fact {
            Fact::ErrorCaught { task, error, handling } => self.caught(task, error, *handling),
            Fact::TaskRetried { task, attempt } => self.live(task, |live| {
                live.data = live.input.clone();
                live.detail = Detail::Try { attempt: *attempt, phase: Phase::Trying };
            }),
            Fact::LoopStarted { task, items } => self.live(task, |live| {
                let items = Arc::new(Value::Array(items.clone()));
                live.detail = Detail::Loop { items, index: None };
            }),
            Fact::IterationStarted { task, index: now } => self.live(task, |live| {
                if let Detail::Loop { index, .. } = &mut live.detail {
                    *index = Some(*now);
                }
            }),
            Fact::CallRequested { task, .. }
            | Fact::ChildRequested { task, wait: true, .. }
            | Fact::ChildResumed { task } => {
                let Some(run) = self.find(task) else { return };
                if let Some(live) = self.live_mut(run) {
                    live.detail = Detail::Call;
                    self.calls += 1;
                }
            }
            Fact::FunctionCalled { task, arguments } => self.live(task, |live| {
                live.data = Arc::new(arguments.clone());
            }),
            Fact::TaskExtended { task, raw, output, then } => {
                self.extended(task, (raw.as_ref(), output.as_ref()), then.clone());
            }
            Fact::CallCancelled { task } | Fact::ChildCancelled { task } => {
                if let Some(run) = self.find(task) {
                    self.answered(run);
                }
            }
            Fact::TimerSet { timer, task, purpose, .. } => {
                if let Some(run) = self.find(task) {
                    self.timers.insert(timer.clone(), Timer { run, purpose: *purpose });
                    if let Some(live) = self.live_mut(run) {
                        live.timers.insert(timer.clone());
                    }
                }
            }
            Fact::TimerFired { timer } | Fact::TimerCancelled { timer } => {
                let gone = self.timers.remove(timer);
                if let Some(live) = gone.and_then(|gone| self.live_mut(gone.run)) {
                    live.timers.remove(timer);
                }
            }
            Fact::ExecutionSuspended { .. }
            | Fact::InputHeld { .. }
            | Fact::ExecutionResumed { .. }
            | Fact::ExecutionRetried { .. } => self.apply_control(fact),
            Fact::ContextSet { context, .. } => self.context = Arc::new(context.clone()),
            Fact::DataSet { task, data } => {
                self.live(task, |live| live.data = Arc::new(data.clone()));
            }
            other => self.apply_consuming(other),
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
            error: None,
            live: Some(Box::new(Live {
                raw: self.input.clone(),
                input: data.clone(),
                data,
                detail: Detail::Plain,
                inside: BTreeSet::new(),
                timers: BTreeSet::new(),
            })),
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
        let raw = self.runs.get(parent)?.live.as_ref()?.data.clone();
        let input = input.map_or_else(|| raw.clone(), |value| Arc::new(value.clone()));
        let detail = match &self.definition.node(node)?.kind {
            Kind::Fork { branches, .. } => {
                Detail::Fork { outputs: vec![None; branches.len()], won: 0, lost: 0 }
            }
            Kind::Try(_) => Detail::Try { attempt: 1, phase: Phase::Trying },
            _ => Detail::Plain,
        };
        if let Some(place) = key.place() {
            self.attempts.insert(place.into(), key.attempt);
        }
        let index = self.insert(Run {
            key: key.task.into(),
            node: Some(node),
            parent,
            attempt: key.attempt,
            status: TaskStatus::Running,
            started_at: at,
            ended_at: None,
            error: None,
            live: Some(Box::new(Live {
                raw,
                data: input.clone(),
                input,
                detail,
                inside: BTreeSet::new(),
                timers: BTreeSet::new(),
            })),
        });
        if let Some(around) = self.live_mut(parent) {
            around.inside.insert(index);
        }
        Some(index)
    }

    /// A task has its output and waits for what extends it.
    fn extended(
        &mut self,
        task: &str,
        (raw, output): (Option<&Value>, Option<&Value>),
        then: Option<String>,
    ) {
        let Some(run) = self.find(task) else { return };
        self.answered(run);
        let Some(live) = self.live_mut(run) else { return };
        if let Some(output) = output {
            live.data = Arc::new(output.clone());
        }
        let raw = raw.map_or_else(|| live.data.clone(), |raw| Arc::new(raw.clone()));
        live.detail = Detail::Extended { raw, then };
    }

    /// Gives a run's output (what it held, where none is named) to the run around it.
    fn pass_on(&mut self, run: usize, output: Option<&Value>) {
        let Some(ended) = self.runs.get(run) else { return };
        let Some(live) = &ended.live else { return };
        let output = output.map_or_else(|| live.data.clone(), |value| Arc::new(value.clone()));
        let (parent, node) = (ended.parent, ended.node);
        let node = node.and_then(|node| self.definition.node(node));
        if node.is_some_and(|node| node.is_extension) {
            // What extends a task works beside it: its output is not the task's.
            return;
        }
        let position = node.map(|node| node.position);
        let Some(parent) = self.live_mut(parent) else { return };
        match &mut parent.detail {
            Detail::Fork { outputs, won, .. } => {
                if let Some(place) = position.and_then(|position| outputs.get_mut(position)) {
                    *won += usize::from(place.is_none());
                    *place = Some(output);
                }
            }
            _ => parent.data = output,
        }
    }

    /// Tells the run around one that it has ended with an error.
    fn lose(&mut self, run: usize) {
        let Some(parent) = self.runs.get(run).map(|run| run.parent) else { return };
        if let Some(Live { detail: Detail::Fork { lost, .. }, .. }) = self.live_mut(parent) {
            *lost += 1;
        }
    }

    fn caught(&mut self, task: &str, error: &Error, handling: Handling) {
        if let Some(run) = self.find(task) {
            self.forget_fallen(run);
        }
        self.live(task, |live| {
            let Detail::Try { phase, .. } = &mut live.detail else { return };
            live.data = live.input.clone();
            *phase = match handling {
                Handling::Retry => Phase::Pausing,
                Handling::Do | Handling::Ignore => Phase::Catching(Box::new(error.clone())),
            };
        });
    }

    /// The result of a call is there, or no longer wanted.
    fn answered(&mut self, run: usize) {
        let Some(live) = self.live_mut(run) else { return };
        if live.detail == Detail::Call {
            live.detail = Detail::Plain;
            self.calls = self.calls.saturating_sub(1);
        }
    }

    fn end_run(&mut self, run: usize, status: TaskStatus, at: DateTime<Utc>) {
        self.answered(run);
        let Some(ended) = self.runs.get_mut(run) else { return };
        ended.status = status;
        ended.ended_at = Some(at);
        ended.live = None;
        let parent = ended.parent;
        if let Some(around) = self.live_mut(parent) {
            around.inside.remove(&run);
        }
    }

    fn cancel(&mut self, reason: &str, at: DateTime<Utc>) {
        reason.clone_into(&mut self.reason);
        // Where the task that runs it goes on, it does so too.
        if self.is_awaited() {
            self.fall(0);
        }
        self.finish(Status::Cancelled, TaskStatus::Cancelled, at);
    }

    fn finish(&mut self, status: Status, run: TaskStatus, at: DateTime<Utc>) {
        self.end = Some(status);
        self.timers.clear();
        self.calls = 0;
        self.hold = None;
        let may_go_on = match status {
            Status::Faulted => true,
            Status::Cancelled => self.is_awaited(),
            _ => false,
        };
        if !may_go_on {
            self.fallen.clear();
        }
        self.end_run(0, run, at);
    }

    fn insert(&mut self, run: Run) -> usize {
        let index = self.runs.len();
        self.by_key.insert(run.key.clone(), index);
        self.runs.push(run);
        index
    }

    /// Inserts a run as a snapshot has it, in the order in which they began.
    pub(super) fn put_back(&mut self, run: Run) {
        let (parent, calls) = (run.parent, usize::from(*run.detail() == Detail::Call));
        let active = run.is_active();
        let index = self.insert(run);
        self.calls += calls;
        if let Some(around) = self.live_mut(parent).filter(|_| active && index != parent) {
            around.inside.insert(index);
        }
    }

    pub(crate) fn find(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub(super) fn live(&mut self, task: &str, change: impl FnOnce(&mut Live)) {
        if let Some(live) = self.find(task).and_then(|run| self.live_mut(run)) {
            change(live);
        }
    }

    pub(super) fn live_mut(&mut self, run: usize) -> Option<&mut Live> {
        self.runs.get_mut(run)?.live.as_deref_mut()
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
