//! One run of a task.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
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
    pub(crate) error: Option<Arc<Error>>,
    /// What only a run that is under way has: once it has ended, the view alone is needed, and a
    /// long execution must not keep every value.
    pub(crate) live: Option<Box<Live>>,
}

/// What a run knows as long as it is under way.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    /// The input before `input.from`.
    pub(crate) raw: Arc<Value>,
    /// The input after it.
    pub(crate) input: Arc<Value>,
    /// What flows from one task inside to the next; begins as the input.
    pub(crate) data: Arc<Value>,
    pub(crate) detail: Detail,
    /// The runs right inside it that are under way: what has ended is never looked at again.
    pub(crate) inside: BTreeSet<usize>,
    /// Names of its timers.
    pub(crate) timers: BTreeSet<String>,
}

impl Run {
    pub(crate) fn is_active(&self) -> bool {
        self.live.is_some()
    }

    pub(crate) fn detail(&self) -> &Detail {
        self.live.as_ref().map_or(&Detail::Plain, |live| &live.detail)
    }
}

/// What a run knows beyond its data, by the type of its task.
///
/// `V` is how it holds values: itself, or as a snapshot or a hash writes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Detail<V = Arc<Value>> {
    /// Nothing.
    Plain,
    /// A `for`: its collection, which is an array, and the current index.
    Loop { items: V, index: Option<usize> },
    /// A `fork`: the outputs of the branches that have ended well, how many these are, and how
    /// many have ended with an error.
    Fork { outputs: Vec<Option<V>>, won: usize, lost: usize },
    /// A `try`.
    Try { attempt: u32, phase: Phase },
    /// A task with an output, around which extensions run: its output before `output.as`, and the
    /// directive to follow then.
    Extended { raw: V, then: Option<String> },
    /// A `call` whose result is awaited.
    Call,
    /// A task that consumes events.
    Listen(Box<super::Listening<V>>),
    /// The workflow itself, where signals have come that no task has listened for yet.
    Kept { signals: Vec<(u64, V)> },
}

impl<V> Detail<V> {
    /// The same with its values held in another way; `None` where one cannot be.
    pub(crate) fn map<'v, W>(
        &'v self,
        value: &mut dyn FnMut(&'v V) -> Option<W>,
    ) -> Option<Detail<W>> {
        Some(match self {
            Detail::Plain => Detail::Plain,
            Detail::Loop { items, index } => Detail::Loop { items: value(items)?, index: *index },
            Detail::Fork { outputs, won, lost } => {
                let mut mapped = Vec::with_capacity(outputs.len());
                for output in outputs {
                    mapped.push(match output {
                        Some(output) => Some(value(output)?),
                        None => None,
                    });
                }
                Detail::Fork { outputs: mapped, won: *won, lost: *lost }
            }
            Detail::Try { attempt, phase } => {
                Detail::Try { attempt: *attempt, phase: phase.clone() }
            }
            Detail::Extended { raw, then } => {
                Detail::Extended { raw: value(raw)?, then: then.clone() }
            }
            Detail::Call => Detail::Call,
            Detail::Listen(listening) => Detail::Listen(Box::new(listening.map(value)?)),
            Detail::Kept { signals } => {
                let mut mapped = Vec::with_capacity(signals.len());
                for (position, signal) in signals {
                    mapped.push((*position, value(signal)?));
                }
                Detail::Kept { signals: mapped }
            }
        })
    }
}

/// Where a `try` stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    /// Its tasks run.
    Trying,
    /// It pauses before it runs them again.
    Pausing,
    /// The handler runs, for this error.
    Catching(Box<Error>),
}
