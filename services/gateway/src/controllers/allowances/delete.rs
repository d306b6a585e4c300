//! Removes an allowance.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::model::v1::DeleteAllowanceRequest;

use crate::{app::App, error::Error, problem::Problem};

/// Removes an allowance: from then on there is no limit.
#[utoipa::path(delete, path = "/v1/allowances/{kind}/{name}", tag = "keys", operation_id = "delete_allowance",
    params(("kind" = String, Path, description = "tenant, agent or provider"), ("name" = String, Path, description = "Its name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    app.bus.request(&DeleteAllowanceRequest { kind, name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
