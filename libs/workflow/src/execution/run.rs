//! One run of a task.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::TaskStatus;
use crate::Error;
use crate::model::NodeId;

/// One run of a task; the first of an execution stands for the workflow itself.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) key: Arc<str>,
    /// `None` for the workflow itself.
    pub(crate) node: Option<NodeId>,
    /// Index of the run around it; the workflow's own for itself.
    pub(crate) parent: usize,
    pub(crate) attempt: u32,
    pub(crate) status: TaskStatus,
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
    /// The input before `input.from`.
    pub(crate) raw: Arc<Value>,
    /// The input after it.
    pub(crate) input: Arc<Value>,
    /// What flows from one task inside to the next; begins as the input.
    pub(crate) data: Arc<Value>,
    pub(crate) detail: Detail,
    pub(crate) error: Option<Arc<Error>>,
}

impl Run {
    pub(crate) fn is_active(&self) -> bool {
        self.status == TaskStatus::Running
    }
}

/// What a run knows beyond its data, by the type of its task.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Detail {
    /// Nothing.
    Plain,
    /// A `for`: its collection and the current index.
    Loop { items: Arc<Vec<Value>>, index: Option<usize> },
    /// A `fork`: the outputs of the branches that have ended well.
    Fork { outputs: Vec<Option<Arc<Value>>> },
    /// A `try`.
    Try { attempt: u32, phase: Phase },
    /// A `call` whose result is awaited.
    Call,
}

/// Where a `try` stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    /// Its tasks run.
    Trying,
    /// It pauses before it runs them again.
    Pausing,
    /// The handler runs, for this error.
    Catching(Arc<Error>),
}
