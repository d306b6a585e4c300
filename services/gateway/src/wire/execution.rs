//! Executions.

use chrono::{DateTime, Utc};
use muster_contracts::{log::v1 as log, workflow::v1 as contract};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Origin, some, when};

/// Starts a workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The workflow's name.
    pub workflow: String,
    /// Absent: the version that was registered last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the workflow works on; absent: an empty object.
    #[serde(default = "empty")]
    pub input: Value,
}

fn empty() -> Value {
    Value::Object(serde_json::Map::new())
}

/// The answer to a start that nobody waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// The execution's id: its state is at `/v1/executions/{execution_id}`.
    pub execution_id: String,
    /// `pending`, or how far it is when a wait was over.
    pub status: String,
}

/// Who wants something of an execution, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// For those who read of it later; at most 1000 characters.
    #[serde(default)]
    pub reason: String,
}

/// The present state of an execution.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Execution {
    /// Its id.
    pub execution_id: String,
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's version.
    pub version: String,
    /// SHA-256 of the definition on which it stays.
    pub digest: String,
    /// pending, running, waiting, suspended, completed, faulted or cancelled.
    pub status: String,
    /// What it works on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// What came out; only of a completed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong, as the Serverless Workflow specification shapes it; only of a faulted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
    /// Why it was cancelled or suspended, as whoever wanted it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its tasks, in the order in which they began.
    #[serde(default)]
    pub tasks: Vec<Task>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// Where it comes from; only of a fork.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Origin>,
    /// The dead letter that its start became, by its sequence; only where it has not begun and nobody could start it. A replay
    /// of the letter starts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letter: Option<u64>,
    /// The task that runs it; only where another execution does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentTask>,
    /// Whose it is; absent: the platform's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
}

/// The task of another execution that runs this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ParentTask {
    /// The other execution.
    pub execution_id: String,
    /// The task there.
    pub task: String,
    /// Whether the task waits for the end.
    pub waits: bool,
}

/// Executions, those that began last first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Executions {
    /// The executions.
    pub executions: Vec<ExecutionSummary>,
    /// What to ask for as `cursor` to get more; absent: there is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// How an execution stands, without its data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionSummary {
    /// Its id.
    pub execution_id: String,
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's version.
    pub version: String,
    /// running, waiting, suspended, completed, faulted or cancelled.
    pub status: String,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When something happened in it last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}

/// The present state of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Unique in the execution: the pointer to the task with loop iterations and attempt.
    pub task: String,
    /// The task's name.
    pub name: String,
    /// The task's type: set, call, for, …
    pub kind: String,
    /// running, waiting, completed, faulted, skipped or cancelled.
    pub status: String,
    /// How often it began, from 1.
    pub attempt: u32,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<DateTime<Utc>>,
    /// The execution that it runs; only of a task that runs a workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child_execution_id: Option<String>,
}

impl Execution {
    /// Whether it has ended, in whatever way.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "faulted" | "cancelled")
    }
}

impl From<contract::ExecutionState> for Execution {
    fn from(state: contract::ExecutionState) -> Self {
        let output = state.output.map(|output| output.0);
        let completed = state.status == "completed";
        let begun = state.started_at.is_some();
        let input = state.input.map(|input| input.0);
        Self {
            execution_id: state.execution_id,
            workflow: state.workflow,
            version: state.version,
            digest: state.digest,
            status: some(state.status).unwrap_or_else(|| "pending".to_owned()),
            // On the bus null is nothing, here it is what was given and what came out.
            input: input.or_else(|| begun.then_some(Value::Null)),
            output: output.or_else(|| completed.then_some(Value::Null)),
            error: state.error.map(|error| error.into_value()),
            reason: some(state.reason),
            tasks: state.tasks.into_iter().map(Task::from).collect(),
            started_at: when(state.started_at.as_ref()),
            ended_at: when(state.ended_at.as_ref()),
            parent: state.parent.map(|parent| ParentTask {
                execution_id: parent.execution_id,
                task: parent.task,
                waits: !parent.detached,
            }),
            fork: state.fork.map(Origin::from),
            dead_letter: Some(state.dead_letter).filter(|letter| *letter > 0),
            tenant: state.tenant,
        }
    }
}

impl From<log::ExecutionList> for Executions {
    fn from(list: log::ExecutionList) -> Self {
        Self {
            executions: list.executions.into_iter().map(ExecutionSummary::from).collect(),
            next: some(list.next),
        }
    }
}

impl From<log::ExecutionSummary> for ExecutionSummary {
    fn from(summary: log::ExecutionSummary) -> Self {
        Self {
            execution_id: summary.execution_id,
            workflow: summary.workflow,
            version: summary.version,
            status: summary.status,
            started_at: when(summary.started_at.as_ref()),
            updated_at: when(summary.updated_at.as_ref()),
        }
    }
}

impl From<contract::TaskState> for Task {
    fn from(state: contract::TaskState) -> Self {
        Self {
            task: state.task,
            name: state.name,
            kind: state.kind,
            status: state.status,
            child_execution_id: some(state.child_execution_id),
            attempt: state.attempt,
            started_at: when(state.started_at.as_ref()),
            ended_at: when(state.ended_at.as_ref()),
        }
    }
}
