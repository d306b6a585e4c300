//! Shows a tool.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::tool::v1::ListToolsRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::Tool};

/// A tool.
#[utoipa::path(get, path = "/v1/tools/{name}", tag = "tools", operation_id = "get_tool",
    params(("name" = String, Path, description = "The tool's name")),
    responses((status = 200, body = Tool), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<Tool>, Error> {
    name::name("tool's name", &name)?;
    let list = app.bus.request(&ListToolsRequest { names: vec![name] }).await?;
    Ok(Json(list.tools.into_iter().next().unwrap_or_default().into()))
}
