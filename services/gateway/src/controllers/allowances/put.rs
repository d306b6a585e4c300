//! Sets an allowance.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::model::v1::PutAllowanceRequest;

use crate::{
    app::App,
    body,
    error::Error,
    problem::Problem,
    wire::{Allowance, Limited},
};

/// Sets what a tenant, an agent or a provider may spend and how often it may be used. What was spent before stays spent.
#[utoipa::path(put, path = "/v1/allowances/{kind}/{name}", tag = "keys", operation_id = "put_allowance", request_body = Limited,
    params(("kind" = String, Path, description = "tenant, agent or provider"),
        ("name" = String, Path, description = "Its name; of a model of a provider `<provider>%2F<model>`")),
    responses((status = 200, body = Allowance), (status = 400, body = Problem)))]
pub(crate) async fn put(
    State(app): State<App>,
    Path((kind, name)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Allowance>, Error> {
    let limits: Limited = body::json(request).await?;
    let request = PutAllowanceRequest { allowance: Some(limits.contract(kind, name)) };
    Ok(Json(app.bus.request(&request).await?.into()))
}
