//! Cancelling, suspending, resuming and retrying executions.

use muster_bus::{Delivery, MessageId};
use muster_contracts::workflow::v1::{
    CallState, CancelExecutionRequest, ControlExecution, ExecutionState, GetCallRequest,
    ResumeExecutionRequest, RetryExecutionRequest, SuspendExecutionRequest,
};

use tracing::info;

use crate::Error;
use crate::app::App;
use crate::domain::control::Action;

/// Ends an execution.
pub(crate) async fn cancel(
    app: App,
    request: CancelExecutionRequest,
) -> Result<ExecutionState, Error> {
    let CancelExecutionRequest { execution_id, reason, digest } = request;
    let command = ControlExecution { execution_id, reason, digest, ..Default::default() };
    control(&app, Action::Cancel, command).await
}

/// Lets an execution stand still.
pub(crate) async fn suspend(
    app: App,
    request: SuspendExecutionRequest,
) -> Result<ExecutionState, Error> {
    let SuspendExecutionRequest { execution_id, reason } = request;
    let command = ControlExecution { execution_id, reason, ..Default::default() };
    control(&app, Action::Suspend, command).await
}

/// Lets a suspended execution go on.
pub(crate) async fn resume(
    app: App,
    request: ResumeExecutionRequest,
) -> Result<ExecutionState, Error> {
    let command = ControlExecution { execution_id: request.execution_id, ..Default::default() };
    control(&app, Action::Resume, command).await
}

/// Lets a faulted execution go on from the task that failed.
pub(crate) async fn retry(
    app: App,
    request: RetryExecutionRequest,
) -> Result<ExecutionState, Error> {
    let command = ControlExecution { execution_id: request.execution_id, ..Default::default() };
    control(&app, Action::Retry, command).await
}

/// Does what was written down, where the process that wrote it has not.
pub(crate) async fn controlled(app: App, command: Delivery<ControlExecution>) -> Result<(), Error> {
    if app.executions.is_overtaken(&command).await? {
        let (execution, action) = (&command.execution_id, &command.action);
        info!(execution, action, "a command came too late: others have followed it, dropped");
        return Ok(());
    }
    app.executions.control(&command.message, &command.id).await
}

/// Whether the answer of a call is still wanted.
pub(crate) async fn wanted(app: App, request: GetCallRequest) -> Result<CallState, Error> {
    Ok(CallState { wanted: app.executions.wants(&request.execution_id, &request.task).await? })
}

async fn control(
    app: &App,
    action: Action,
    command: ControlExecution,
) -> Result<ExecutionState, Error> {
    let command = ControlExecution { action: action.name().to_owned(), ..command };
    app.executions.check(action, &command).await?;
    let id = MessageId::random();
    // First the command: where this process ends between the journal and its effects, another one goes on.
    app.bus.publish(&command, &id).await?;
    app.executions.control(&command, id.as_str()).await?;
    let state = app.executions.state(&command.execution_id).await?;
    // One that has ended between the look and the command was not stopped by it.
    let ended = match action {
        Action::Cancel => matches!(state.status.as_str(), "completed" | "faulted"),
        Action::Suspend => matches!(state.status.as_str(), "completed" | "faulted" | "cancelled"),
        Action::Resume | Action::Retry => false,
    };
    if ended {
        app.executions.check(action, &command).await?;
    }
    Ok(state)
}
