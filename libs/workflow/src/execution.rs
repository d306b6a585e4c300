//! The state of one execution, rebuilt by applying facts.

mod apply;
mod canonical;
mod control;
mod listening;
mod run;
mod saved;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::control::{Again, Hold};
pub(crate) use self::listening::Listening;
pub(crate) use self::run::{Detail, Live, Phase, Run};
pub use self::saved::Unreadable;
use crate::model::Kind;
use crate::size::size;
use crate::{Definition, Error, Parent, Payer, Purpose};

/// The status of an execution, named as the specification does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It has not begun.
    Pending,
    /// A function is at work.
    Running,
    /// Only timers and events are awaited.
    Waiting,
    /// It stands still until it is resumed.
    Suspended,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Faulted,
    /// It was cancelled.
    Cancelled,
}

impl Status {
    /// Whether nothing can happen any more.
    pub fn is_ended(self) -> bool {
        matches!(self, Status::Completed | Status::Faulted | Status::Cancelled)
    }
}

/// The status of one run of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskStatus {
    /// It is under way.
    Running,
    /// It ended well.
    Completed,
    /// It ended with an error.
    Faulted,
    /// It was stopped from outside.
    Cancelled,
    /// Its `if` was false.
    Skipped,
}

/// One run of a task, as a client may see it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskView<'a> {
    /// Key of the run.
    pub task: &'a str,
    /// Where the task stands in the document.
    pub pointer: &'a str,
    /// The task's name.
    pub name: &'a str,
    /// The task's type: `set`, `call`, `for`, …
    pub kind: &'static str,
    /// How it stands.
    pub status: TaskStatus,
    /// How often the task began in its place, counted from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When it ended, if it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// The error that it ended with, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a Error>,
}

/// Where a fork comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The execution that was copied.
    pub execution: String,
    /// How many of its transitions were copied.
    pub position: u64,
}

/// The state of one execution.
///
/// It changes only by facts: [`Execution::advance`] decides which come next and applies them,
/// [`Execution::apply`] applies what a journal has.
#[derive(Debug, Clone)]
pub struct Execution {
    pub(crate) id: Arc<str>,
    pub(crate) definition: Arc<Definition>,
    /// The task that runs it, where it is a child.
    pub(crate) parent: Option<Parent>,
    /// Whose it is, where it is a tenant's.
    pub(crate) payer: Option<Payer>,
    pub(crate) end: Option<Status>,
    pub(crate) input: Arc<Value>,
    pub(crate) output: Option<Arc<Value>>,
    pub(crate) error: Option<Error>,
    pub(crate) context: Arc<Value>,
    /// Runs in the order in which they began. The first, with the empty key, is the workflow.
    pub(crate) runs: Vec<Run>,
    pub(crate) by_key: HashMap<Arc<str>, usize>,
    /// How often a task was reached in its place.
    pub(crate) attempts: HashMap<Arc<str>, u32>,
    pub(crate) timers: BTreeMap<String, Timer>,
    /// Calls whose result is awaited.
    pub(crate) calls: usize,
    /// Set where it is a fork.
    pub(crate) origin: Option<Origin>,
    /// Set while it is suspended.
    pub(crate) hold: Option<Hold>,
    /// Why it was cancelled or suspended.
    pub(crate) reason: String,
    /// What runs held that failed or were stopped, until it does not matter any more.
    pub(crate) fallen: BTreeMap<usize, Box<Live>>,
    /// How often it went on after a fault.
    pub(crate) retries: u32,
}

/// A timer that was set and has not fired.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timer {
    pub(crate) run: usize,
    pub(crate) purpose: Purpose,
}

impl Execution {
    /// An execution that has not begun.
    pub fn new(id: &str, definition: Arc<Definition>) -> Execution {
        Execution {
            id: id.into(),
            definition,
            parent: None,
            payer: None,
            end: None,
            input: Arc::default(),
            output: None,
            error: None,
            context: Arc::default(),
            runs: Vec::new(),
            by_key: HashMap::new(),
            attempts: HashMap::new(),
            timers: BTreeMap::new(),
            calls: 0,
            origin: None,
            hold: None,
            reason: String::new(),
            fallen: BTreeMap::new(),
            retries: 0,
        }
    }

    /// The id that it was created with.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The definition that it runs.
    pub fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// The task of another execution that runs it; `None` where nothing does, and before the start.
    pub fn parent(&self) -> Option<&Parent> {
        self.parent.as_ref()
    }

    /// The same, of a tenant: to be said before it begins.
    #[must_use]
    pub fn paid_by(mut self, payer: Option<Payer>) -> Execution {
        self.payer = payer;
        self
    }

    /// Whose it is, where it is a tenant's. A fork has the tenant of its origin.
    pub fn payer(&self) -> Option<&Payer> {
        self.payer.as_ref()
    }

    /// Whether a task waits for the end of the workflow that it runs.
    pub fn awaits_child(&self, task: &str) -> bool {
        self.runs_workflow(task)
            && self
                .find(task)
                .is_some_and(|run| self.runs.get(run).map(Run::detail) == Some(&Detail::Call))
    }

    /// Whether a task runs a workflow.
    pub fn runs_workflow(&self, task: &str) -> bool {
        let run = self.find(task).and_then(|run| self.runs.get(run));
        run.is_some_and(|run| matches!(self.definition.kind(run.node), Some(Kind::Child(_))))
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        match self.end {
            Some(end) => end,
            None if self.runs.is_empty() => Status::Pending,
            None if self.hold.is_some() => Status::Suspended,
            None if self.calls == 0 => Status::Waiting,
            None => Status::Running,
        }
    }

    /// The input as it was given; null before the start.
    pub fn input(&self) -> &Value {
        &self.input
    }

    /// The output, when it has completed.
    pub fn output(&self) -> Option<&Value> {
        self.output.as_deref()
    }

    /// The error, when it has faulted.
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// The context that tasks exported; null before the first export.
    pub fn context(&self) -> &Value {
        &self.context
    }

    /// Where it comes from, when it is a fork.
    pub fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }

    /// When it began.
    pub fn started_at(&self) -> Option<DateTime<Utc>> {
        self.runs.first().map(|run| run.started_at)
    }

    /// When it ended.
    pub fn ended_at(&self) -> Option<DateTime<Utc>> {
        self.runs.first().and_then(|run| run.ended_at)
    }

    /// Roughly the bytes that it takes in memory. It looks at every value that flows.
    pub fn size(&self) -> u64 {
        let mut seen = HashSet::new();
        let mut bytes = 200 * self.runs.len() as u64 + 100 * self.timers.len() as u64;
        let mut add = |value: &Arc<Value>| {
            if seen.insert(Arc::as_ptr(value)) {
                bytes += size(value);
            }
        };
        [&self.input, &self.context].into_iter().chain(&self.output).for_each(&mut add);
        for live in self.active().filter_map(|run| run.live.as_deref()) {
            [&live.raw, &live.input, &live.data].into_iter().for_each(&mut add);
            live.detail.map(&mut |value| {
                add(value);
                Some(())
            });
        }
        bytes
    }

    /// The runs that are under way.
    fn active(&self) -> impl Iterator<Item = &Run> {
        let mut open: Vec<usize> = if self.runs.is_empty() { Vec::new() } else { vec![0] };
        std::iter::from_fn(move || {
            let run = self.runs.get(open.pop()?)?;
            open.extend(run.live.iter().flat_map(|live| &live.inside));
            Some(run)
        })
    }

    /// Every run of a task, in the order in which they began.
    pub fn tasks(&self) -> impl Iterator<Item = TaskView<'_>> {
        self.runs.iter().filter_map(|run| {
            let node = self.definition.node(run.node?)?;
            Some(TaskView {
                task: &run.key,
                pointer: &node.pointer,
                name: &node.name,
                kind: node.kind.name(),
                status: run.status,
                attempt: run.attempt,
                started_at: run.started_at,
                ended_at: run.ended_at,
                error: run.error.as_deref(),
            })
        })
    }
}
