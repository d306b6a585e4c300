//! Lists the tools.

use axum::{Json, extract::State};
use muster_contracts::tool::v1::ListToolsRequest;

use crate::{app::App, error::Error, wire::Tools};

/// All tools: the built-in ones, those that are registered, and those that registered servers and documents have.
#[utoipa::path(get, path = "/v1/tools", tag = "tools", operation_id = "list_tools", responses((status = 200, body = Tools)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Tools>, Error> {
    Ok(Json(app.bus.request(&ListToolsRequest::default()).await?.into()))
}
