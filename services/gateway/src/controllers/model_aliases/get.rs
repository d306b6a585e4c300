//! Shows a name for models.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::model::v1::GetModelRequest;

use crate::{app::App, error::Error, problem::Problem, wire::ModelAlias};

/// A name for models.
#[utoipa::path(get, path = "/v1/model-aliases/{name}", tag = "models", operation_id = "get_model_alias",
    params(("name" = String, Path, description = "The name")),
    responses((status = 200, body = ModelAlias), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<ModelAlias>, Error> {
    Ok(Json(app.bus.request(&GetModelRequest { name }).await?.into()))
}
