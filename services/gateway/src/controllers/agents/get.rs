//! Shows an agent.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::agent::v1::GetAgentRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::Agent};

/// An agent.
#[utoipa::path(get, path = "/v1/agents/{name}", tag = "agents",operation_id = "get_agent",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 200, body = Agent), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Agent>, Error> {
    name::name("agent's name", &name)?;
    Ok(Json(app.bus.request(&GetAgentRequest { name, ..Default::default() }).await?.into()))
}
