//! Shows a workflow.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::workflow::v1::GetWorkflowRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{app::App, error::Error, problem::Problem, query::Query, wire::Workflow};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// Absent: the version that was registered last.
    version: Option<String>,
}

/// A workflow with its document.
#[utoipa::path(get, path = "/v1/workflows/{name}", tag = "workflows",operation_id = "get_workflow",
    params(("name" = String, Path, description = "The workflow's name"), Which),
    responses((status = 200, body = Workflow), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Result<Json<Workflow>, Error> {
    let request =
        GetWorkflowRequest { name, version: which.version.unwrap_or_default(), brief: false };
    Ok(Json(app.bus.request(&request).await?.into()))
}
