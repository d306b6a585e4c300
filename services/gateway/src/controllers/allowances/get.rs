//! Shows an allowance.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::model::v1::GetAllowanceRequest;

use crate::{app::App, error::Error, problem::Problem, wire::Allowance};

/// An allowance, and what was spent of it.
#[utoipa::path(get, path = "/v1/allowances/{kind}/{name}", tag = "keys", operation_id = "get_allowance",
    params(("kind" = String, Path, description = "tenant, agent or provider"), ("name" = String, Path, description = "Its name")),
    responses((status = 200, body = Allowance), (status = 400, body = Problem), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<Json<Allowance>, Error> {
    Ok(Json(app.bus.request(&GetAllowanceRequest { kind, name }).await?.into()))
}
