//! Cancels, suspends, resumes and retries executions.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::{
    Code, Fault, Request as Asked, subject,
    workflow::v1::{
        CancelExecutionRequest, ExecutionState, ResumeExecutionRequest, RetryExecutionRequest,
        SuspendExecutionRequest,
    },
};

use super::{check_own, state};
use crate::{
    app::App,
    auth::Client,
    body,
    error::Error,
    problem::Problem,
    wire::{Execution, Reason},
};

/// The longest reason, in characters.
const MAX_REASON: usize = 1000;

/// Ends an execution. What runs for it is stopped: agents with their questions to models, tools, HTTP requests. What it
/// has done stays done.
#[utoipa::path(post, path = "/v1/executions/{id}/cancel", tag = "executions", operation_id = "cancel_execution",
    request_body(content = Option<Reason>, description = "Who wants it and why; may be left out"),
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Execution), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has ended")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Path(execution_id): Path<String>,
    request: Request,
) -> Result<Json<Execution>, Error> {
    let reason = reason(&app, &execution_id, request).await?;
    let request = CancelExecutionRequest { execution_id, reason, ..Default::default() };
    match app.bus.request(&request).await {
        Ok(state) => Ok(Json(state.into())),
        // Accepted, and not begun: then it never will.
        Err(fault) if fault.code == Code::NotFound => {
            let digest = state(&app, &request.execution_id).await?.digest;
            let request = CancelExecutionRequest { digest, ..request };
            Ok(Json(app.bus.request(&request).await?.into()))
        }
        Err(fault) => Err(fault.into()),
    }
}

/// Lets an execution stand still: no task begins any more. What runs goes on to its end, which counts when the execution
/// is resumed.
#[utoipa::path(post, path = "/v1/executions/{id}/suspend", tag = "executions", operation_id = "suspend_execution",
    request_body(content = Option<Reason>, description = "Who wants it and why; may be left out"),
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Execution), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has not begun, has ended, or is suspended")))]
pub(crate) async fn suspend(
    State(app): State<App>,
    Path(execution_id): Path<String>,
    request: Request,
) -> Result<Json<Execution>, Error> {
    let reason = reason(&app, &execution_id, request).await?;
    done(&app, &execution_id.clone(), &SuspendExecutionRequest { execution_id, reason }).await
}

/// Lets a suspended execution go on.
#[utoipa::path(post, path = "/v1/executions/{id}/resume", tag = "executions", operation_id = "resume_execution",
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Execution), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is not suspended")))]
pub(crate) async fn resume(
    State(app): State<App>,
    client: Client,
    Path(execution_id): Path<String>,
) -> Result<Json<Execution>, Error> {
    subject::token("execution id", &execution_id)?;
    check_own(&app, &client, &execution_id).await?;
    done(&app, &execution_id.clone(), &ResumeExecutionRequest { execution_id }).await
}

/// Lets a faulted execution go on from the task that failed: it begins again with its old input, as do the branches that
/// the fault stopped. What completed stays done.
#[utoipa::path(post, path = "/v1/executions/{id}/retry", tag = "executions", operation_id = "retry_execution",
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Execution), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It has not faulted, or no task of it did")))]
pub(crate) async fn retry(
    State(app): State<App>,
    client: Client,
    Path(execution_id): Path<String>,
) -> Result<Json<Execution>, Error> {
    subject::token("execution id", &execution_id)?;
    check_own(&app, &client, &execution_id).await?;
    done(&app, &execution_id.clone(), &RetryExecutionRequest { execution_id }).await
}

/// The reason in the body of a request about an execution of the client's, which need not have one.
async fn reason(app: &App, execution_id: &str, request: Request) -> Result<String, Error> {
    subject::token("execution id", execution_id)?;
    check_own(app, &Client::of(&request)?, execution_id).await?;
    let Reason { reason } = body::json_or_default(request).await?;
    let length = reason.chars().count();
    if length > MAX_REASON {
        let text =
            format!("`reason` has {length} characters, but it must have at most {MAX_REASON}");
        return Err(Error::invalid(text));
    }
    Ok(reason)
}

async fn done<R: Asked<Reply = ExecutionState>>(
    app: &App,
    execution_id: &str,
    request: &R,
) -> Result<Json<Execution>, Error> {
    match app.bus.request(request).await {
        Ok(state) => Ok(Json(state.into())),
        Err(fault) if fault.code == Code::NotFound => {
            // There may be one whose start is accepted.
            let status = state(app, execution_id).await?.status;
            let text = format!("execution {execution_id:?} is {status}: it has not begun");
            Err(Fault::new(Code::Conflict, text).into())
        }
        Err(fault) => Err(fault.into()),
    }
}
