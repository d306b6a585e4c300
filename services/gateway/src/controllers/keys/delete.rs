//! Removes a virtual key.

use axum::{
    extract::{Path, Request, State},
    http::StatusCode,
};
use muster_contracts::model::v1::DeleteVirtualKeyRequest;

use crate::{
    app::App,
    auth::{self, Changed, Client},
    error::Error,
    problem::Problem,
};

/// Removes a virtual key. Within seconds nobody comes in with it any more, and nothing is paid for it at once.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "keys", operation_id = "delete_key",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(key_id): Path<String>,
    request: Request,
) -> Result<StatusCode, Error> {
    let (client, address) = (Client::of(&request)?, auth::address(&request));
    let key = app.bus.request(&DeleteVirtualKeyRequest { key_id: key_id.clone() }).await?;
    app.auth.forget(&key_id);
    let (tenant, key_id) = (key.tenant.as_str(), key_id.as_str());
    app.auth.audit.revoked(Changed { tenant, key_id, by: &client, address });
    Ok(StatusCode::NO_CONTENT)
}
