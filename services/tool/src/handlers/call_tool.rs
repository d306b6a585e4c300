//! Calls a tool and answers with its result.

use muster_contracts::Json;
use muster_contracts::tool::v1::{CallToolRequest, ExecuteToolRequest, ToolResult};

use crate::app::App;
use crate::calls;
use crate::domain::call::Call;
use crate::error::Error;
use crate::execute;

/// Any tool, whoever serves it.
pub(crate) async fn execute_tool(
    app: App,
    request: ExecuteToolRequest,
) -> Result<ToolResult, Error> {
    if calls::is_reserved(&request.tool) {
        let name = request.tool;
        return Err(Error::NotFound(format!(
            "{name:?} is no tool: it is what workflows call themselves; use the tool http_request"
        )));
    }
    let call = Call {
        name: request.tool,
        arguments: request.arguments.unwrap_or_default().0,
        idempotency_key: request.idempotency_key,
        execution_id: request.execution_id,
        task: request.task,
        secrets: Vec::new(),
    };
    let outcome = execute::execute(&app, &call).await?;
    Ok(ToolResult {
        result: Some(Json(outcome.result)),
        duration_ms: outcome.duration_ms,
        replayed: outcome.replayed,
    })
}

/// One of our own tools, on the subject that a worker would serve.
pub(crate) async fn call_tool(app: App, request: CallToolRequest) -> Result<ToolResult, Error> {
    if !app.registry.built_in().contains_key(&request.name) {
        // The subject named one of ours, the body another.
        return Err(Error::Invalid(format!(
            "`name` is {:?}, but this subject is that of another tool",
            request.name.chars().take(80).collect::<String>()
        )));
    }
    let request = ExecuteToolRequest {
        tool: request.name,
        arguments: request.arguments,
        idempotency_key: request.idempotency_key,
        execution_id: request.execution_id,
        task: request.task,
    };
    execute_tool(app, request).await
}
