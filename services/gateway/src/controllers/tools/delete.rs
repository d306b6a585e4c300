//! Removes a tool.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::tool::v1::UnregisterToolRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem};

/// Removes a registered tool. Calls that have begun go on.
#[utoipa::path(delete, path = "/v1/tools/{name}", tag = "tools", operation_id = "delete_tool",
    params(("name" = String, Path, description = "The tool's name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem), (status = 409, body = Problem, description = "The tool is built in")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    name::name("tool's name", &name)?;
    app.bus.request(&UnregisterToolRequest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
