//! How an agent is.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::agent::v1::GetAgentStatusRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::AgentStatus};

/// How an agent is, or was when it was heard of last (`stale`).
#[utoipa::path(get, path = "/v1/agents/{name}/status", tag = "agents", operation_id = "get_agent_status",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 200, body = AgentStatus), (status = 404, body = Problem, description = "No such agent was ever heard of")))]
pub(crate) async fn status(
    State(app): State<App>,
    Path(agent_id): Path<String>,
) -> Result<Json<AgentStatus>, Error> {
    name::name("agent's name", &agent_id)?;
    Ok(Json(app.bus.request(&GetAgentStatusRequest { agent_id }).await?.into()))
}
