//! Stores a key of a provider.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use muster_contracts::model::v1::PutProviderKeyRequest;

use crate::{
    app::App,
    body,
    domain::name,
    error::Error,
    problem::Problem,
    wire::{NewProviderKey, ProviderKey},
};

/// Stores a key of a provider, encrypted. Nobody can read it here again.
#[utoipa::path(post, path = "/v1/providers/{name}/keys", tag = "keys", operation_id = "put_provider_key", request_body = NewProviderKey,
    params(("name" = String, Path, description = "The provider's name")),
    responses((status = 201, body = ProviderKey, description = "Stored"), (status = 400, body = Problem),
        (status = 503, body = Problem, description = "The model service has no master key")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(provider): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<ProviderKey>), Error> {
    let provider = name::name("provider's name", &provider)?.to_owned();
    let NewProviderKey { key, key_id } = body::json(request).await?;
    let stored = app.bus.request(&PutProviderKeyRequest { provider, key_id, key }).await?;
    Ok((StatusCode::CREATED, Json(stored.into())))
}
