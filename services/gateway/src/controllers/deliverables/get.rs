//! One deliverable, or its notice.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use muster_contracts::{Code, Fault};
use muster_deliverable::{Address, Deliverables};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{app::App, error::Error, problem::Problem, query::Query, wire::Deliverable};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Part {
    /// Its version; without it the newest, or the one behind an `@` in the path.
    sequence: Option<u64>,
    /// Only its notice, of at most 200 tokens.
    notice: Option<bool>,
}

/// What an agent produced, in full, or with `notice=true` its notice.
#[utoipa::path(get, path = "/v1/deliverables/{agent}/{type}/{feature}", tag = "deliverables", operation_id = "get_deliverable",
    params(("agent" = String, Path, description = "Who produced it"), ("type" = String, Path, description = "What kind of thing it is, such as `report`"), ("feature" = String, Path, description = "What it is about; `@7` behind it is version 7"), Part),
    responses((status = 200, body = Deliverable), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path((agent, kind, feature)): Path<(String, String, String)>,
    Query(part): Query<Part>,
) -> Result<Response, Error> {
    told(&app, &format!("deliverables/{agent}/{kind}/{feature}"), &part).await
}

/// What a member of the example team produced.
#[utoipa::path(get, path = "/v1/deliverables/agog/{agent}/{type}/{feature}", tag = "deliverables", operation_id = "get_team_deliverable",
    params(("agent" = String, Path, description = "Who produced it: cynthia, sylvia, roy, jen, billy or priya"), ("type" = String, Path, description = "What kind of thing it is"), ("feature" = String, Path, description = "What it is about; `@7` behind it is version 7"), Part),
    responses((status = 200, body = Deliverable), (status = 404, body = Problem)))]
pub(crate) async fn of_team(
    State(app): State<App>,
    Path((agent, kind, feature)): Path<(String, String, String)>,
    Query(part): Query<Part>,
) -> Result<Response, Error> {
    told(&app, &format!("deliverables/agog/{agent}/{kind}/{feature}"), &part).await
}

async fn told(app: &App, address: &str, part: &Part) -> Result<Response, Error> {
    let mut address = Address::parse(address).map_err(|error| Error::invalid(error.to_string()))?;
    if part.sequence.is_some() {
        address = address.at(part.sequence);
    }
    let stored = Deliverables::new(&app.bus).fetch(&address).await?.ok_or_else(|| {
        let what = match address.version {
            Some(_) => "has no such version (any more)",
            None => "is not there",
        };
        Fault::new(Code::NotFound, format!("{address} {what}; GET /v1/deliverables lists what is, and an agent's notice names it"))
    })?;
    if part.notice.unwrap_or_default() {
        return Ok(Json(stored.notice().await?).into_response());
    }
    Ok(Json(Deliverable::from(stored)).into_response())
}
