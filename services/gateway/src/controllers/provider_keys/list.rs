//! Lists the stored keys of a provider.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::model::v1::ListProviderKeysRequest;

use crate::{
    app::App,
    error::Error,
    problem::Problem,
    wire::{ProviderKey, ProviderKeys},
};

/// The stored keys of a provider, by their names. The keys themselves are shown to nobody.
#[utoipa::path(get, path = "/v1/providers/{name}/keys", tag = "keys", operation_id = "list_provider_keys",
    params(("name" = String, Path, description = "The provider's name")),
    responses((status = 200, body = ProviderKeys), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(app): State<App>,
    Path(provider): Path<String>,
) -> Result<Json<ProviderKeys>, Error> {
    let list = app.bus.request(&ListProviderKeysRequest { provider }).await?;
    Ok(Json(ProviderKeys { keys: list.keys.into_iter().map(ProviderKey::from).collect() }))
}
