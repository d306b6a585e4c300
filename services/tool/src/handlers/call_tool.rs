//! Calls one of our tools and answers with its result.

use muster_contracts::Json;
use muster_contracts::tool::v1::{CallToolRequest, ToolResult};

use crate::app::App;
use crate::domain::call::Call;
use crate::error::Error;
use crate::execute::execute;

pub(crate) async fn call_tool(app: App, request: CallToolRequest) -> Result<ToolResult, Error> {
    let tool = app.registry.get(&request.name).ok_or_else(|| {
        let known = app.registry.names();
        Error::NotFound(format!("there is no tool {:?}; there are: {known}", request.name))
    })?;
    let call = Call {
        name: request.name,
        arguments: request.arguments.unwrap_or_default().0,
        idempotency_key: request.idempotency_key,
        execution_id: request.execution_id,
        task: request.task,
    };
    let outcome = execute(&app, tool, &call).await?;
    Ok(ToolResult {
        result: Some(Json(outcome.result)),
        duration_ms: outcome.duration_ms,
        replayed: outcome.replayed,
    })
}
