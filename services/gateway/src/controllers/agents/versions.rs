//! Lists the versions of an agent.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::agent::v1::ListAgentVersionsRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::AgentVersions};

/// The versions of an agent, the newest first; of a removed agent too.
#[utoipa::path(get, path = "/v1/agents/{name}/versions", tag = "agents", operation_id = "list_agent_versions",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 200, body = AgentVersions), (status = 404, body = Problem)))]
pub(crate) async fn versions(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<AgentVersions>, Error> {
    name::name("agent's name", &name)?;
    Ok(Json(app.bus.request(&ListAgentVersionsRequest { name }).await?.into()))
}
