//! Lists the names for models.

use axum::{Json, extract::State};
use muster_contracts::model::v1::ListModelsRequest;

use crate::{
    app::App,
    error::Error,
    wire::{ModelAlias, ModelAliases},
};

/// All names for models.
#[utoipa::path(get, path = "/v1/model-aliases", tag = "models", operation_id = "list_model_aliases",
    responses((status = 200, body = ModelAliases)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<ModelAliases>, Error> {
    let list = app.bus.request(&ListModelsRequest {}).await?;
    Ok(Json(ModelAliases { models: list.models.into_iter().map(ModelAlias::from).collect() }))
}
