//! Removes a stored key of a provider.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::model::v1::DeleteProviderKeyRequest;

use crate::{app::App, error::Error, problem::Problem};

/// Removes a stored key of a provider: no call begins with it any more.
#[utoipa::path(delete, path = "/v1/providers/{name}/keys/{id}", tag = "keys", operation_id = "delete_provider_key",
    params(("name" = String, Path, description = "The provider's name"), ("id" = String, Path, description = "The key's name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path((provider, key_id)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    app.bus.request(&DeleteProviderKeyRequest { provider, key_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}
