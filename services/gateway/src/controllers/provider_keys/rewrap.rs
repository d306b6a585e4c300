//! Puts the stored keys under a new master key.

use axum::{Json, extract::State};
use muster_contracts::model::v1::RewrapProviderKeysRequest;

use crate::{app::App, error::Error, problem::Problem, wire::Rewrapped};

/// Puts every stored key of every provider under the newest master key, after which an older one may be taken away.
#[utoipa::path(post, path = "/v1/providers/rewrap", tag = "keys", operation_id = "rewrap_provider_keys",
    responses((status = 200, body = Rewrapped), (status = 503, body = Problem, description = "A master key is missing")))]
pub(crate) async fn rewrap(State(app): State<App>) -> Result<Json<Rewrapped>, Error> {
    let done = app.bus.request(&RewrapProviderKeysRequest {}).await?;
    Ok(Json(Rewrapped {
        master_key_id: done.master_key_id,
        rewrapped: done.rewrapped,
        unchanged: done.unchanged,
    }))
}
