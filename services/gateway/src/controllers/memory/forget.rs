//! Lets an agent forget.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::thread::v1::ForgetMemoryRequest;

use super::Whose;
use crate::{
    app::App, auth::Client, error::Error, problem::Problem, query::Query, wire::Forgotten,
};

/// Lets an agent forget everything that it remembers for a tenant.
#[utoipa::path(delete, path = "/v1/agents/{name}/memory", tag = "agents", operation_id = "forget_all",
    params(("name" = String, Path, description = "The agent's name"), Whose),
    responses((status = 200, body = Forgotten),
        (status = 403, body = Problem, description = "The key is for another tenant, or not for this agent"),
        (status = 404, body = Problem)))]
pub(crate) async fn all(
    State(app): State<App>,
    client: Client,
    Path(agent): Path<String>,
    Query(whose): Query<Whose>,
) -> Result<Json<Forgotten>, Error> {
    let tenant = whose.tenant(&client, &agent)?;
    forget(&app, ForgetMemoryRequest { agent, tenant, item_id: String::new() }).await
}

/// Lets an agent forget one thing that it remembers for a tenant.
#[utoipa::path(delete, path = "/v1/agents/{name}/memory/{id}", tag = "agents", operation_id = "forget_one",
    params(("name" = String, Path, description = "The agent's name"), ("id" = String, Path, description = "What it remembers"), Whose),
    responses((status = 200, body = Forgotten),
        (status = 403, body = Problem, description = "The key is for another tenant, or not for this agent"),
        (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(app): State<App>,
    client: Client,
    Path((agent, item_id)): Path<(String, String)>,
    Query(whose): Query<Whose>,
) -> Result<Json<Forgotten>, Error> {
    let tenant = whose.tenant(&client, &agent)?;
    forget(&app, ForgetMemoryRequest { agent, tenant, item_id }).await
}

async fn forget(app: &App, request: ForgetMemoryRequest) -> Result<Json<Forgotten>, Error> {
    Ok(Json(Forgotten { items: app.bus.request(&request).await?.items }))
}
