//! The past of executions.

use muster_bus::MessageId;
use muster_contracts::workflow::v1::{
    CheckWorkflowRequest, DiffExecutionsRequest, ExecutionDiff, ExecutionFile, ExecutionReplay,
    ExecutionState, ExportExecutionRequest, ForkExecutionRequest, ForkOrigin,
    ImportExecutionRequest, ImportedExecution, ReplayExecutionRequest, WorkflowCheck,
};

use crate::Error;
use crate::app::App;

/// The state at a position, rebuilt from the journal.
pub(crate) async fn replay(
    app: App,
    request: ReplayExecutionRequest,
) -> Result<ExecutionReplay, Error> {
    app.executions.replay(&request.execution_id, request.position).await
}

/// Begins an execution as a copy of another.
pub(crate) async fn fork(app: App, request: ForkExecutionRequest) -> Result<ExecutionState, Error> {
    let new_id = match request.new_execution_id.as_str() {
        "" => MessageId::random().as_str().to_owned(),
        id => id.to_owned(),
    };
    let origin = ForkOrigin {
        execution_id: request.execution_id,
        position: request.position,
        set: request.set,
    };
    app.executions.fork(&new_id, origin).await
}

/// What two executions did differently.
pub(crate) async fn diff(app: App, request: DiffExecutionsRequest) -> Result<ExecutionDiff, Error> {
    app.executions.diff(&request.left, &request.right).await
}

/// Everything that an execution is made of.
pub(crate) async fn export(
    app: App,
    request: ExportExecutionRequest,
) -> Result<ExecutionFile, Error> {
    Ok(ExecutionFile { file: Some(app.executions.export(&request.execution_id).await?) })
}

/// Brings an exported execution back.
pub(crate) async fn import(
    app: App,
    request: ImportExecutionRequest,
) -> Result<ImportedExecution, Error> {
    Ok(app.executions.import(request.file.unwrap_or_default()).await?.into())
}

/// What a new version would change for the executions that run.
pub(crate) async fn check(app: App, request: CheckWorkflowRequest) -> Result<WorkflowCheck, Error> {
    app.executions.check_version(&request.source).await
}
