//! The past of executions.

use chrono::{DateTime, Utc};
use muster_contracts::workflow::v1 as contract;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{Execution, some, when};

/// From where a new execution goes on, and what is changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// How many transitions are copied, from 1; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<u64>,
    /// `context` replaces the context; `data` is what the task in flight gets instead of what the one before it left, `task` the key of that task, where
    /// several are in flight. A task that this is about begins again.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub set: Value,
}

/// Where a fork comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origin {
    /// The execution that was copied.
    pub execution_id: String,
    /// How many of its transitions were copied.
    pub position: u64,
}

/// What the journal says the state is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionReplay {
    /// How many transitions were applied.
    pub position: u64,
    /// How many there are.
    pub transitions: u64,
    /// SHA-256 of the state that they give.
    pub hash: String,
    /// That of the state in memory: the same, or something is damaged. Only where all transitions were applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_hash: Option<String>,
    /// When the last one of them happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// What tasks exported.
    pub context: Value,
    /// The state as it was then.
    pub execution: Execution,
}

/// What two executions did differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionDiff {
    /// The one that was named first.
    pub left: DiffSide,
    /// The other.
    pub right: DiffSide,
    /// The first transition that is not the same in both apart from times, counted from 1; absent where all are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parted_at: Option<u64>,
    /// How many runs of tasks are the same in both.
    pub same: u64,
    /// The runs of tasks that are not.
    pub tasks: Vec<TaskDifference>,
}

/// One of two executions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiffSide {
    /// Its id.
    pub execution_id: String,
    /// The workflow's name.
    pub workflow: String,
    /// The workflow's version.
    pub version: String,
    /// SHA-256 of the definition on which it stays.
    pub digest: String,
    /// How it stands.
    pub status: String,
    /// How many transitions it has.
    pub transitions: u64,
    /// What came out; only of a completed one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong; only of a faulted one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
}

/// A run of a task that only one of two executions has, or that ended differently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskDifference {
    /// The run's key.
    pub task: String,
    /// The task's name.
    pub name: String,
    /// The task's type.
    pub kind: String,
    /// `only_left`, `only_right`, `status`, `error` or `output`.
    pub difference: String,
    /// The output or the error on the left; else an object with `status` and what there is of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<Value>,
    /// The same on the right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Value>,
}

/// What a new version of a workflow would change for the executions that run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkflowCheck {
    /// The workflow's name.
    pub name: String,
    /// The version that was checked.
    pub version: String,
    /// SHA-256 of the document that was checked.
    pub digest: String,
    /// The version that is the default now; absent where the workflow is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_version: Option<String>,
    /// Every execution of the workflow that runs, of any version, that was checked.
    pub executions: Vec<ExecutionCheck>,
    /// How many were checked: 1000 at most, and so many as there is time for in 15 s.
    #[serde(default)]
    pub checked: u64,
    /// How many run beyond them, as far as they could be counted in 20 s.
    #[serde(default)]
    pub unchecked: u64,
    /// Why none was checked; absent where they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What a new version would change for one execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionCheck {
    /// Its id.
    pub execution_id: String,
    /// The version on which it stays.
    pub version: String,
    /// SHA-256 of that definition.
    pub digest: String,
    /// How it stands.
    pub status: String,
    /// How many transitions it has.
    pub transitions: u64,
    /// Empty where it would have come to where it stands on the new version too.
    pub differences: Vec<VersionDifference>,
}

/// One thing that would have been different on a new version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VersionDifference {
    /// The transition in which it would have shown first, counted from 1.
    pub position: u64,
    /// Key of the run of the task; absent where it is about the workflow or a task that did not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Where it stands: in the execution's own definition, and for what is inserted in the new one.
    pub pointer: String,
    /// `decision`: what the execution decided is decided otherwise there, which comes first. Or how the documents differ in
    /// what has begun: `missing`, `moved`, `changed`, `inserted`.
    pub difference: String,
    /// The same in words.
    pub message: String,
    /// Of a `decision`: what was decided; absent where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_decision: Option<String>,
    /// Of a `decision`: what would have been decided; absent where nothing would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_decision: Option<String>,
}

impl From<contract::ForkOrigin> for Origin {
    fn from(origin: contract::ForkOrigin) -> Self {
        Self { execution_id: origin.execution_id, position: origin.position }
    }
}

impl From<contract::ExecutionReplay> for ExecutionReplay {
    fn from(replay: contract::ExecutionReplay) -> Self {
        Self {
            position: replay.position,
            transitions: replay.transitions,
            hash: replay.hash,
            live_hash: some(replay.live_hash),
            at: when(replay.at.as_ref()),
            context: replay.context.unwrap_or_default().0,
            execution: replay.state.unwrap_or_default().into(),
        }
    }
}

impl From<contract::ExecutionDiff> for ExecutionDiff {
    fn from(diff: contract::ExecutionDiff) -> Self {
        Self {
            left: diff.left.unwrap_or_default().into(),
            right: diff.right.unwrap_or_default().into(),
            parted_at: Some(diff.parted_at).filter(|position| *position > 0),
            same: diff.same,
            tasks: diff.tasks.into_iter().map(TaskDifference::from).collect(),
        }
    }
}

impl From<contract::DiffSide> for DiffSide {
    fn from(side: contract::DiffSide) -> Self {
        Self {
            execution_id: side.execution_id,
            workflow: side.workflow,
            version: side.version,
            digest: side.digest,
            status: side.status,
            transitions: side.transitions,
            output: side.output.map(|output| output.0),
            error: side.error.map(|error| error.into_value()),
        }
    }
}

impl From<contract::TaskDifference> for TaskDifference {
    fn from(difference: contract::TaskDifference) -> Self {
        Self {
            task: difference.task,
            name: difference.name,
            kind: difference.kind,
            difference: difference.difference,
            left: difference.left.map(|value| value.0),
            right: difference.right.map(|value| value.0),
        }
    }
}

impl From<contract::WorkflowCheck> for WorkflowCheck {
    fn from(check: contract::WorkflowCheck) -> Self {
        Self {
            name: check.name,
            version: check.version,
            digest: check.digest,
            default_version: some(check.default_version),
            executions: check.executions.into_iter().map(ExecutionCheck::from).collect(),
            checked: check.checked,
            unchecked: check.unchecked,
            failure: some(check.failure),
        }
    }
}

impl From<contract::ExecutionCheck> for ExecutionCheck {
    fn from(check: contract::ExecutionCheck) -> Self {
        Self {
            execution_id: check.execution_id,
            version: check.version,
            digest: check.digest,
            status: check.status,
            transitions: check.transitions,
            differences: check.differences.into_iter().map(VersionDifference::from).collect(),
        }
    }
}

impl From<contract::VersionDifference> for VersionDifference {
    fn from(difference: contract::VersionDifference) -> Self {
        Self {
            position: difference.position,
            task: some(difference.task),
            pointer: difference.pointer,
            difference: difference.difference,
            message: difference.message,
            old_decision: some(difference.old_decision),
            new_decision: some(difference.new_decision),
        }
    }
}
