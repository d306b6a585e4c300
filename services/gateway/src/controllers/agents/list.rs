//! Lists the agents.

use axum::{Json, extract::State};
use muster_contracts::agent::v1::ListAgentsRequest;

use crate::{
    app::App,
    error::Error,
    wire::{Agent, Agents},
};

/// All agents.
#[utoipa::path(get, path = "/v1/agents", tag = "agents",operation_id = "list_agents", responses((status = 200, body = Agents)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Agents>, Error> {
    let list = app.bus.request(&ListAgentsRequest {}).await?;
    Ok(Json(Agents { agents: list.agents.into_iter().map(Agent::from).collect() }))
}
