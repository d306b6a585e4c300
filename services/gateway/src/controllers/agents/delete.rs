//! Removes an agent.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::agent::v1::DeleteAgentRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem};

/// Removes an agent. Its versions stay readable by their digests, and runs that have begun go on.
#[utoipa::path(delete, path = "/v1/agents/{name}", tag = "agents", operation_id = "delete_agent",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    name::name("agent's name", &name)?;
    app.bus.request(&DeleteAgentRequest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
