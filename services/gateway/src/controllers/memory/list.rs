//! Shows what an agent remembers.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::thread::v1::ListMemoryRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::Memories};

/// What an agent remembers, the newest first.
#[utoipa::path(get, path = "/v1/agents/{name}/memory", tag = "agents", operation_id = "list_memory",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 200, body = Memories),
        (status = 404, body = Problem, description = "There is no such agent, or it has no `memory`")))]
pub(crate) async fn list(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Memories>, Error> {
    name::name("agent's name", &name)?;
    let request = ListMemoryRequest { agent: name, ..Default::default() };
    Ok(Json(app.bus.request(&request).await?.into()))
}
