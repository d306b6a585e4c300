//! Lists allowances.

use axum::{Json, extract::State};
use muster_contracts::model::v1::ListAllowancesRequest;

use crate::{
    app::App,
    error::Error,
    wire::{Allowance, Allowances},
};

/// All allowances, without what was spent of them.
#[utoipa::path(get, path = "/v1/allowances", tag = "keys", operation_id = "list_allowances",
    responses((status = 200, body = Allowances)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Allowances>, Error> {
    let list = app.bus.request(&ListAllowancesRequest {}).await?;
    Ok(Json(Allowances { allowances: list.allowances.into_iter().map(Allowance::from).collect() }))
}
