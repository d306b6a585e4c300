//! Removes a virtual key.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::model::v1::DeleteVirtualKeyRequest;

use crate::{app::App, error::Error, problem::Problem};

/// Removes a virtual key. Within seconds nobody comes in with it any more, and nothing is paid for it at once.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "delete_key",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(key_id): Path<String>,
) -> Result<StatusCode, Error> {
    app.bus.request(&DeleteVirtualKeyRequest { key_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
