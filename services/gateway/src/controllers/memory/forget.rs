//! Lets an agent forget.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::thread::v1::ForgetMemoryRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::Forgotten};

/// Lets an agent forget everything.
#[utoipa::path(delete, path = "/v1/agents/{name}/memory", tag = "agents", operation_id = "forget_all",
    params(("name" = String, Path, description = "The agent's name")),
    responses((status = 200, body = Forgotten), (status = 404, body = Problem)))]
pub(crate) async fn all(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Forgotten>, Error> {
    forget(&app, name, String::new()).await
}

/// Lets an agent forget one thing.
#[utoipa::path(delete, path = "/v1/agents/{name}/memory/{id}", tag = "agents", operation_id = "forget_one",
    params(("name" = String, Path, description = "The agent's name"), ("id" = String, Path, description = "What it remembers")),
    responses((status = 200, body = Forgotten), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(app): State<App>,
    Path((name, id)): Path<(String, String)>,
) -> Result<Json<Forgotten>, Error> {
    forget(&app, name, id).await
}

async fn forget(app: &App, agent: String, item_id: String) -> Result<Json<Forgotten>, Error> {
    name::name("agent's name", &agent)?;
    let request = ForgetMemoryRequest { agent, item_id, ..Default::default() };
    Ok(Json(Forgotten { items: app.bus.request(&request).await?.items }))
}
