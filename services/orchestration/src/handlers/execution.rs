//! Starting executions and telling their state.

use muster_bus::Delivery;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest, StartExecution};

use crate::Error;
use crate::app::App;

/// Starts an execution, once.
pub(crate) async fn start(app: App, command: Delivery<StartExecution>) -> Result<(), Error> {
    app.executions.start(&command.message, &command.id).await?;
    if command.attempt > 1 {
        // It may have been given up before.
        app.executions.unstarted().forget(&command.execution_id).await?;
    }
    match &command.parent {
        Some(parent) => app.executions.cancel_unless_awaited(parent).await,
        None => Ok(()),
    }
}

/// The present state of an execution.
pub(crate) async fn get(app: App, request: GetExecutionRequest) -> Result<ExecutionState, Error> {
    app.executions.state(&request.execution_id).await
}
