//! Shows an execution.

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{app::App, auth::Client, error::Error, problem::Problem, wire::Execution};

/// The present state of an execution.
#[utoipa::path(get, path = "/v1/executions/{id}", tag = "executions",operation_id = "get_execution",
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Execution), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
) -> Result<Json<Execution>, Error> {
    Ok(Json(super::own(&app, &client, &id).await?))
}
