//! Shows what an agent remembers.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::thread::v1::ListMemoryRequest;

use super::Whose;
use crate::{app::App, auth::Client, error::Error, problem::Problem, query::Query, wire::Memories};

/// What an agent remembers for a tenant, the newest first.
#[utoipa::path(get, path = "/v1/agents/{name}/memory", tag = "agents", operation_id = "list_memory",
    params(("name" = String, Path, description = "The agent's name"), Whose),
    responses((status = 200, body = Memories),
        (status = 403, body = Problem, description = "The key is for another tenant, or not for this agent"),
        (status = 404, body = Problem, description = "There is no such agent, or it has no `memory`")))]
pub(crate) async fn list(
    State(app): State<App>,
    client: Client,
    Path(agent): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Json<Memories>, Error> {
    let tenant = whose.tenant(&client, &agent)?;
    let request = ListMemoryRequest { agent, tenant };
    Ok(Json(app.bus.request(&request).await?.into()))
}
