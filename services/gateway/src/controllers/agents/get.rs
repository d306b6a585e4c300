//! Shows an agent.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::agent::v1::GetAgentRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{app::App, domain::name, error::Error, problem::Problem, query::Query, wire::Agent};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Version {
    /// The version, by its digest; absent: the latest.
    #[serde(default)]
    digest: String,
}

/// An agent, or a version of it: every version that was ever registered stays readable.
#[utoipa::path(get, path = "/v1/agents/{name}", tag = "agents",operation_id = "get_agent",
    params(("name" = String, Path, description = "The agent's name"), Version),
    responses((status = 200, body = Agent), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(Version { digest }): Query<Version>,
) -> Result<Json<Agent>, Error> {
    name::name("agent's name", &name)?;
    Ok(Json(app.bus.request(&GetAgentRequest { name, digest }).await?.into()))
}
