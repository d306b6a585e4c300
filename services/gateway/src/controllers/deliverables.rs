//! `/v1/deliverables`.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::{Code, Fault, deliverable::v1 as contract};

use crate::{app::App, error::Error, problem::Problem, wire::Deliverable};

/// What an agent produced, in full.
#[utoipa::path(get, path = "/v1/deliverables/{agent}/{type}/{feature}", tag = "deliverables", operation_id = "get_deliverable",
    params(("agent" = String, Path, description = "Who produced it"), ("type" = String, Path, description = "What kind of thing it is, such as `report`"), ("feature" = String, Path, description = "What it is about")),
    responses((status = 200, body = Deliverable), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path((agent, kind, feature)): Path<(String, String, String)>,
) -> Result<Json<Deliverable>, Error> {
    let address =
        contract::Deliverable { agent, r#type: kind, feature, ..contract::Deliverable::default() };
    let (_, deliverable) = app.bus.latest(&address).await?.ok_or_else(|| {
        let contract::Deliverable { agent, r#type: kind, feature, .. } = &address;
        Fault::new(Code::NotFound, format!("there is no deliverable {agent}/{kind}/{feature}; an agent's notice names what there is"))
    })?;
    Ok(Json(deliverable.into()))
}
