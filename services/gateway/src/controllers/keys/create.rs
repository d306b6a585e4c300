//! Makes a virtual key.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_contracts::model::v1::CreateVirtualKeyRequest;
use sha2::{Digest as _, Sha256};

use crate::{
    app::App,
    auth::{self, Changed, Client, KEY_PREFIX},
    body,
    domain::idempotency::hex,
    error::Error,
    problem::Problem,
    wire::{CreatedKey, Key, NewKey},
};

/// How much of a key is kept for people who look for it.
const START: usize = 14;

/// Makes a key for a tenant, with what may be spent with it. The answer has the key, this once: the platform keeps its SHA-256
/// only, and the key itself never leaves the gateway.
#[utoipa::path(post, path = "/v1/keys", tag = "keys", operation_id = "create_key", request_body = NewKey,
    responses((status = 201, body = CreatedKey, description = "Made; `Location` is where it is"), (status = 400, body = Problem)))]
pub(crate) async fn create(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (client, address) = (Client::of(&request)?, auth::address(&request));
    let new: NewKey = body::json(request).await?;
    let key = key();
    let start: String = key.chars().take(START).collect();
    let request = CreateVirtualKeyRequest {
        key: Some(new.contract(&start)),
        hash: hex(&Sha256::digest(key.as_bytes())),
    };
    let about = Key::from(app.bus.request(&request).await?);
    let (tenant, key_id) = (about.tenant.as_str(), about.key_id.as_str());
    app.auth.audit.created(Changed { tenant, key_id, by: &client, address });
    let headers = [
        (header::LOCATION, format!("/v1/keys/{}", about.key_id)),
        (header::CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((StatusCode::CREATED, headers, Json(CreatedKey { key, about })).into_response())
}

/// 256 random bits: nobody can guess one, and so its plain hash is as good as a slow one.
fn key() -> String {
    format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_random_and_known_by_its_start() {
        let (one, other) = (key(), key());
        assert_eq!(one.len(), KEY_PREFIX.len() + 43);
        assert_ne!(one, other);
        assert!(one.starts_with(KEY_PREFIX));
    }
}
