//! Removes a workflow.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::workflow::v1::DeleteWorkflowRequest;

use crate::{app::App, error::Error, problem::Problem};

/// Removes a workflow with all its versions, and ends its schedule. Executions go on with the definition that they have.
#[utoipa::path(delete, path = "/v1/workflows/{name}", tag = "workflows", operation_id = "delete_workflow",
    params(("name" = String, Path, description = "The workflow's name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    app.bus.request(&DeleteWorkflowRequest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
