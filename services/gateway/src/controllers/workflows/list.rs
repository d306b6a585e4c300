//! Lists the workflows.

use axum::{Json, extract::State};
use muster_contracts::workflow::v1::ListWorkflowsRequest;

use crate::{
    app::App,
    error::Error,
    wire::{Workflow, Workflows},
};

/// All workflows, each in the version that was registered last.
#[utoipa::path(get, path = "/v1/workflows", tag = "workflows",operation_id = "list_workflows", responses((status = 200, body = Workflows)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Workflows>, Error> {
    let list = app.bus.request(&ListWorkflowsRequest {}).await?;
    Ok(Json(Workflows { workflows: list.workflows.into_iter().map(Workflow::from).collect() }))
}
