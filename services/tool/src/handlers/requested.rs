//! Calls a tool for a workflow's task and publishes how it went.

use chrono::Utc;
use futures::future::join;
use muster_bus::trace::Trace;
use muster_bus::{Delivery, MessageId};
use muster_contracts::tool::v1::{
    ToolExecutionCancelled, ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested,
    ToolExecutionStarted,
};
use muster_contracts::{Code, Fault, HasCode, Json, JsonObject, now};
use tracing::warn;

use crate::app::App;
use crate::calls;
use crate::domain::call::{Call, Outcome};
use crate::error::Error;
use crate::execute::execute;

/// How often a call is tried while something that it needs is away; then the workflow decides.
const TRIES: u32 = 6;
/// How often it is tried while others have used up what the tool may be asked: each try waits as long as it was told.
const TRIES_EXHAUSTED: u32 = 30;

pub(crate) async fn requested(
    app: App,
    delivery: Delivery<ToolExecutionRequested>,
) -> Result<(), Error> {
    let request = &delivery.message;
    let open = app.calls.begin_delivered(&delivery, &request.execution_id, &request.task).await?;
    if open.is_cancelled() {
        return Box::pin(cancelled(&app, request, "it was cancelled before it began")).await;
    }
    let call = Call {
        name: request.tool.clone(),
        arguments: request.arguments.clone().unwrap_or_default().0,
        idempotency_key: request.idempotency_key.clone(),
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        secrets: request.secrets.clone(),
    };
    // On the heap: what all kinds of tools have room for is large, and would be moved again and again.
    let work = Box::pin(async {
        match execute(&app, &call).await {
            Ok(outcome) => {
                if outcome.is_computed {
                    delivery.may_come_again();
                }
                completed(&app, request, outcome).await
            }
            Err(error) if open.is_cancelled() => {
                Box::pin(cancelled(&app, request, &error.to_string())).await
            }
            Err(error) if delivery.attempt < tries(error.code()) => Err(error),
            Err(error) => Box::pin(failed(&app, request, &error)).await,
        }
    });
    // The start is told while the tool works: what comes first on the connection is first in the stream.
    let (started, ended) = join(started(&app, request), work).await;
    started?;
    ended
}

/// How often a call is tried that ends like this.
const fn tries(code: Code) -> u32 {
    match code {
        Code::Unavailable => TRIES,
        Code::Exhausted => TRIES_EXHAUSTED,
        _ => 1,
    }
}

async fn started(app: &App, request: &ToolExecutionRequested) -> Result<(), Fault> {
    let event = ToolExecutionStarted {
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        tool: request.tool.clone(),
        idempotency_key: request.idempotency_key.clone(),
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&event, &id(request, "started")).await.map(drop)
}

async fn completed(
    app: &App,
    request: &ToolExecutionRequested,
    outcome: Outcome,
) -> Result<(), Error> {
    let id = id(request, "ended");
    let event = ToolExecutionCompleted {
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        tool: request.tool.clone(),
        result: Some(Json(outcome.result)),
        duration_ms: outcome.duration_ms,
        effect: outcome.effect.to_owned(),
        replayed: outcome.replayed,
        idempotency_key: request.idempotency_key.clone(),
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&event, &id).await?;
    Ok(())
}

async fn failed(app: &App, request: &ToolExecutionRequested, error: &Error) -> Result<(), Error> {
    warn!(tool = request.tool, execution.id = request.execution_id, trace_id = Trace::current_id(), code = %error.code(), %error, "tool call failed");
    let id = id(request, "ended");
    let internal = error.code() == Code::Internal;
    let event = ToolExecutionFailed {
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        tool: request.tool.clone(),
        code: error.code().name().to_owned(),
        error: if internal { "internal error".to_owned() } else { error.to_string() },
        idempotency_key: request.idempotency_key.clone(),
        timestamp: now(Utc::now()),
        problem: problem(request, error),
    };
    app.bus.publish(&event, &id).await?;
    Ok(())
}

async fn cancelled(app: &App, request: &ToolExecutionRequested, reason: &str) -> Result<(), Error> {
    let event = ToolExecutionCancelled {
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        tool: request.tool.clone(),
        reason: reason.to_owned(),
        idempotency_key: request.idempotency_key.clone(),
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&event, &id(request, "ended")).await?;
    Ok(())
}

/// A call ends once: its possible ends have one id.
fn id(request: &ToolExecutionRequested, what: &str) -> MessageId {
    MessageId::derived([
        "tool",
        &request.execution_id,
        &request.task,
        &request.idempotency_key,
        what,
    ])
}

/// What a call of the workflow language raises, where that says more than the code.
fn problem(request: &ToolExecutionRequested, error: &Error) -> Option<JsonObject> {
    let details = error.details();
    if let Some(problem) = details.get("problem") {
        return Some(JsonObject::wrap(problem.clone()));
    }
    let outward = calls::is_reserved(&request.tool) && details.get("interrupted").is_some();
    outward.then(|| JsonObject::wrap(calls::problem("communication", 500, &error.to_string())))
}
