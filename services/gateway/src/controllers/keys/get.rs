//! Shows a virtual key.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::model::v1::GetVirtualKeyRequest;

use crate::{app::App, error::Error, problem::Problem, wire::Key};

/// A virtual key, and what was spent with it.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", operation_id = "get_key",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, body = Key), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(key_id): Path<String>,
) -> Result<Json<Key>, Error> {
    Ok(Json(app.bus.request(&GetVirtualKeyRequest { key_id }).await?.into()))
}
