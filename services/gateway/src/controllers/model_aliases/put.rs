//! Registers a name for models.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::model::v1::PutModelRequest;

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    error::Error,
    problem::Problem,
    wire::ModelAlias,
};

/// Registers a name for models, or replaces it.
#[utoipa::path(put, path = "/v1/model-aliases/{name}", tag = "models", operation_id = "put_model_alias",
    params(("name" = String, Path, description = "The name")),
    request_body(content((ModelAlias = "application/yaml"), (ModelAlias = "application/json"))),
    responses((status = 200, body = ModelAlias), (status = 400, body = Problem, description = "The definition is wrong: an unknown provider, a number out of its range")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Json<ModelAlias>, Error> {
    let mut alias: ModelAlias =
        Payload::read(request, &[Media::Yaml, Media::Json], LIMIT).await?.parse()?;
    if !alias.name.is_empty() && alias.name != path {
        return Err(Error::invalid(format!(
            "the body has the name {:?}, but the path {path:?}; make them equal, or leave the name out of the body",
            alias.name
        )));
    }
    alias.name = path;
    let request = PutModelRequest { definition: Some(alias.into()) };
    Ok(Json(app.bus.request(&request).await?.into()))
}
