//! What ends a task: the inputs of executions.

use muster_bus::Delivery;
use muster_contracts::agent::v1::{
    AgentExecutionCancelled, AgentExecutionCompleted, AgentExecutionFailed,
};
use muster_contracts::tool::v1::{
    ToolExecutionCancelled, ToolExecutionCompleted, ToolExecutionFailed,
};
use muster_contracts::workflow::v1::{CallCompleted, TimerFired};
use muster_contracts::{Code, Json};
use muster_workflow::Input;

use crate::Error;
use crate::app::App;
use crate::domain::command::idempotency_key;
use crate::domain::fault::{raised, standard_error};

pub(crate) async fn agent_completed(
    app: App,
    event: Delivery<AgentExecutionCompleted>,
) -> Result<(), Error> {
    let input = completed(&event.task, event.output.clone());
    app.executions.give(&event.execution_id, &event.id, &input).await
}

pub(crate) async fn agent_failed(
    app: App,
    event: Delivery<AgentExecutionFailed>,
) -> Result<(), Error> {
    let input = failed(&event.task, &event.code, &event.error);
    app.executions.give(&event.execution_id, &event.id, &input).await
}

/// Nobody waits for a run that orchestration has cancelled; one that ended so by itself fails its task.
pub(crate) async fn agent_cancelled(
    app: App,
    event: Delivery<AgentExecutionCancelled>,
) -> Result<(), Error> {
    let input = failed(&event.task, Code::Conflict.name(), &event.reason);
    app.executions.give(&event.execution_id, &event.id, &input).await
}

/// Agents call tools too, for the same task: only the task's own call ends it.
pub(crate) async fn tool_completed(
    app: App,
    event: Delivery<ToolExecutionCompleted>,
) -> Result<(), Error> {
    if event.idempotency_key != idempotency_key(&event.execution_id, &event.task) {
        return Ok(());
    }
    let input = completed(&event.task, event.result.clone());
    app.executions.give(&event.execution_id, &event.id, &input).await
}

pub(crate) async fn tool_failed(
    app: App,
    event: Delivery<ToolExecutionFailed>,
) -> Result<(), Error> {
    if event.idempotency_key != idempotency_key(&event.execution_id, &event.task) {
        return Ok(());
    }
    let input = match event.problem.as_ref().and_then(raised) {
        Some(error) => Input::Failed { task: event.task.clone(), error },
        None => failed(&event.task, &event.code, &event.error),
    };
    app.executions.give(&event.execution_id, &event.id, &input).await
}

/// As with runs of agents.
pub(crate) async fn tool_cancelled(
    app: App,
    event: Delivery<ToolExecutionCancelled>,
) -> Result<(), Error> {
    if event.idempotency_key != idempotency_key(&event.execution_id, &event.task) {
        return Ok(());
    }
    let input = failed(&event.task, Code::Conflict.name(), &event.reason);
    app.executions.give(&event.execution_id, &event.id, &input).await
}

pub(crate) async fn call_completed(app: App, event: Delivery<CallCompleted>) -> Result<(), Error> {
    let input = match event.error.clone() {
        None => completed(&event.task, event.output.clone()),
        Some(error) => Input::Failed {
            task: event.task.clone(),
            error: serde_json::from_value(error.into_value()).unwrap_or_else(|_| {
                standard_error(Code::Internal, "the call failed with an error that cannot be read")
            }),
        },
    };
    app.executions.give(&event.execution_id, &event.id, &input).await
}

pub(crate) async fn timer_fired(app: App, event: Delivery<TimerFired>) -> Result<(), Error> {
    app.executions
        .give(&event.execution_id, &event.id, &Input::TimerFired { timer: event.timer.clone() })
        .await
}

fn completed(task: &str, output: Option<Json>) -> Input {
    Input::Completed { task: task.to_owned(), output: output.unwrap_or_default().0 }
}

fn failed(task: &str, name: &str, reason: &str) -> Input {
    Input::Failed { task: task.to_owned(), error: standard_error(code(name), reason) }
}

fn code(name: &str) -> Code {
    Code::from_name(name).unwrap_or(Code::Internal)
}
