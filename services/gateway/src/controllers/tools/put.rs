//! Registers a tool.

use axum::{
    Json,
    extract::{Path, Request, State},
};

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    domain::name,
    error::Error,
    problem::Problem,
    wire::Tool,
};
use muster_contracts::tool::v1::RegisterToolRequest;

/// Registers a tool, or replaces the one with this name: one that a worker serves on the bus (workers can do this themselves), a request, operations of an OpenAPI document, the tools of an MCP
/// server, or a WebAssembly module.
#[utoipa::path(put, path = "/v1/tools/{name}", tag = "tools", operation_id = "put_tool",
    params(("name" = String, Path, description = "The tool's name")),
    request_body(content((Tool = "application/yaml"), (Tool = "application/json"))),
    responses((status = 200, body = Tool), (status = 400, body = Problem, description = "The definition is wrong: an unknown field, a bad schema, effect or limit"),
        (status = 409, body = Problem, description = "The tool is built in")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(path): Path<String>,
    request: Request,
) -> Result<Json<Tool>, Error> {
    let path = name::name("tool's name", &path)?;
    let mut tool: Tool =
        Payload::read(request, &[Media::Yaml, Media::Json], LIMIT).await?.parse()?;
    if !tool.name.is_empty() && tool.name != path {
        return Err(Error::invalid(format!(
            "the body names the tool {:?}, but the path names {path:?}; make them equal, or leave the name out of the body",
            tool.name
        )));
    }
    path.clone_into(&mut tool.name);
    Ok(Json(app.bus.request(&RegisterToolRequest::from(tool)).await?.into()))
}
