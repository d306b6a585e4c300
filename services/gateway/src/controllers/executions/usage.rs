//! Shows what an execution used.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::{log::v1::GetUsageRequest, subject};

use crate::{app::App, auth::Client, error::Error, problem::Problem, wire::ExecutionUsage};

/// What an execution used so far, in all and by agent.
#[utoipa::path(get, path = "/v1/executions/{id}/usage", tag = "executions",operation_id = "get_execution_usage",
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = ExecutionUsage), (status = 404, body = Problem)))]
pub(crate) async fn usage(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
) -> Result<Json<ExecutionUsage>, Error> {
    subject::token("execution id", &id)?;
    super::check_own(&app, &client, &id).await?;
    let usage = app.bus.request(&GetUsageRequest { execution_id: id.clone() }).await?;
    if usage.events == 0 {
        // Nothing recorded yet, or no such execution.
        super::state(&app, &id).await?;
    }
    Ok(Json(usage.into()))
}
