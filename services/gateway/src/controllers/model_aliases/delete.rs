//! Removes a name for models.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::model::v1::DeleteModelRequest;

use crate::{app::App, error::Error, problem::Problem};

/// Removes a name for models. Where the model service's settings have one of the same name, that one holds again.
#[utoipa::path(delete, path = "/v1/model-aliases/{name}", tag = "models", operation_id = "delete_model_alias",
    params(("name" = String, Path, description = "The name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "The name stands in the model service's settings alone")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    app.bus.request(&DeleteModelRequest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
