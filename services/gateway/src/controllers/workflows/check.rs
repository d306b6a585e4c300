//! Checks what a new version of a workflow would change.

use axum::{
    Json,
    extract::{Request, State},
};
use muster_contracts::workflow::v1::CheckWorkflowRequest;

use super::put::source;
use crate::{app::App, error::Error, problem::Problem, wire::WorkflowCheck};

/// Compares a document, which is not registered by this, with what every execution of its name that runs has done so far:
/// what would have been different on this version. They stay on theirs in any case.
#[utoipa::path(post, path = "/v1/workflows/check", tag = "workflows", operation_id = "check_workflow",
    request_body(content((Object = "application/yaml"), (Object = "application/json")), description = "A Serverless Workflow document (DSL 1.0.3)"),
    responses((status = 200, body = WorkflowCheck),
        (status = 400, body = Problem, description = "The document is no valid workflow; `details` lists what is wrong and where")))]
pub(crate) async fn check(
    State(app): State<App>,
    request: Request,
) -> Result<Json<WorkflowCheck>, Error> {
    let request = CheckWorkflowRequest { source: source(request).await? };
    Ok(Json(app.bus.request(&request).await?.into()))
}
