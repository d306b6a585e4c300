//! Calls a tool.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::{JsonObject, tool::v1::ExecuteToolRequest};

use crate::{
    app::App,
    body,
    controllers::executions::start::key,
    domain::name,
    error::Error,
    problem::Problem,
    wire::{Call, Called},
};

/// Longer than the longest limit of a tool: the tool service tells how a late call ended.
const LONGEST: Duration = Duration::from_secs(620);

/// Calls a tool and waits for its result. With an `Idempotency-Key` a repeated request gets the recorded result (for 24 hours).
#[utoipa::path(post, path = "/v1/tools/{name}", tag = "tools", operation_id = "call_tool", request_body = Call,
    params(("name" = String, Path, description = "The tool's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 200, body = Called), (status = 400, body = Problem, description = "The arguments do not fit the tool's schema"),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "The call was interrupted, and its class is `once`"),
        (status = 503, body = Problem, description = "No worker answers"), (status = 504, body = Problem, description = "The tool took longer than its limit")))]
pub(crate) async fn call(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<Called>, Error> {
    name::name("tool's name", &name)?;
    let key = key(request.headers())?;
    let call: Call = body::json(request).await?;
    let request = ExecuteToolRequest {
        idempotency_key: key.map(|key| key.id("tools").to_string()).unwrap_or_default(),
        tool: name,
        arguments: Some(JsonObject(call.arguments)),
        ..Default::default()
    };
    Ok(Json(app.bus.request_within(&request, LONGEST).await?.into()))
}
