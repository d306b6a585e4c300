//! The state of an execution as the contract shows it.

use chrono::{DateTime, Utc};
use muster_contracts::workflow::v1::{
    ExecutionCompleted, ExecutionState, ForkOrigin, StartExecution, TaskState,
};
use muster_contracts::{Json, JsonObject, now};
use muster_workflow::{Execution, Payer, Status, TaskView};
use serde::Serialize;
use serde_json::Value;

use super::child::{child_id, link};

/// The most tasks that the end of an execution tells of.
const MOST_TASKS: usize = 32;

pub(crate) fn state(execution: &Execution) -> ExecutionState {
    let definition = execution.definition();
    ExecutionState {
        execution_id: execution.id().to_owned(),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        digest: definition.digest().to_owned(),
        status: word(&execution.status()),
        input: Some(Json(execution.input().clone())),
        output: execution.output().cloned().map(Json),
        error: execution.error().map(error_object),
        tasks: execution.tasks().map(|task| task_state(execution, &task)).collect(),
        reason: execution.reason().to_owned(),
        started_at: execution.started_at().and_then(now),
        ended_at: execution.ended_at().and_then(now),
        parent: execution.parent().map(link),
        fork: execution.origin().map(|origin| ForkOrigin {
            execution_id: origin.execution.clone(),
            position: origin.position,
            set: None,
        }),
        tenant: execution.payer().map(|payer| payer.tenant.clone()).unwrap_or_default(),
        dead_letter: 0,
    }
}

fn task_state(execution: &Execution, task: &TaskView<'_>) -> TaskState {
    TaskState {
        task: task.task.to_owned(),
        name: task.name.to_owned(),
        kind: task.kind.to_owned(),
        status: word(&task.status),
        attempt: task.attempt,
        started_at: now(task.started_at),
        ended_at: task.ended_at.and_then(now),
        child_execution_id: match execution.runs_workflow(task.task) {
            true => child_id(execution.id(), task.task),
            false => String::new(),
        },
    }
}

/// What tells of the end of an execution. Who waits for one with few tasks needs to ask nobody how it went.
pub(crate) fn completed(
    execution: &Execution,
    output: &Value,
    at: DateTime<Utc>,
) -> ExecutionCompleted {
    let definition = execution.definition();
    let mut tasks: Vec<_> = execution.tasks().take(MOST_TASKS + 1).collect();
    if tasks.len() > MOST_TASKS {
        tasks.clear();
    }
    ExecutionCompleted {
        execution_id: execution.id().to_owned(),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        status: word(&Status::Completed),
        output: Some(Json(output.clone())),
        timestamp: now(at),
        tasks: tasks.iter().map(|task| task_state(execution, task)).collect(),
        task_count: u32::try_from(execution.tasks().count()).unwrap_or(u32::MAX),
        started_at: execution.started_at().and_then(now),
        ended_at: execution.ended_at().and_then(now),
    }
}

/// Whose an execution is that begins; nothing where it is the platform's own.
pub(crate) fn payer(start: &StartExecution) -> Option<Payer> {
    let payer = Payer { tenant: start.tenant.clone(), key_id: start.key_id.clone() };
    Some(payer).filter(|payer| !payer.tenant.is_empty())
}

pub(crate) fn error_object(error: &muster_workflow::Error) -> JsonObject {
    JsonObject::wrap(serde_json::to_value(error).unwrap_or_default())
}

/// The word that serde writes for a status.
pub(crate) fn word(status: &impl Serialize) -> String {
    match serde_json::to_value(status) {
        Ok(Value::String(word)) => word,
        _ => String::new(),
    }
}
