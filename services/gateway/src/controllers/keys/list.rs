//! Lists virtual keys.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{Json, extract::State};
use muster_contracts::model::v1::ListVirtualKeysRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    error::Error,
    problem::Problem,
    query::Query,
    wire::{Key, Keys},
};

#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Of {
    /// Only the keys of this tenant.
    tenant: Option<String>,
}

/// All virtual keys, or those of a tenant.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", operation_id = "list_keys", params(Of),
    responses((status = 200, body = Keys), (status = 400, body = Problem)))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(of): Query<Of>,
) -> Result<Json<Keys>, Error> {
    let request = ListVirtualKeysRequest { tenant: of.tenant.unwrap_or_default() };
    let list = app.bus.request(&request).await?;
    Ok(Json(Keys { keys: list.keys.into_iter().map(Key::from).collect() }))
}
