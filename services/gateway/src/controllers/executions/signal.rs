//! Hands an event to one execution.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use muster_bus::MessageId;
use muster_contracts::{Code, Fault, workflow::v1::SignalExecution};

use super::{own, start::key};
use crate::{
    app::App,
    auth::Client,
    body,
    error::Error,
    problem::Problem,
    wire::{Signal, Signalled},
};

/// Hands an event to one execution: its `listen` tasks see it as a CloudEvent whose type is the signal's name. It is kept until
/// one of them listens for it. With an `Idempotency-Key` a repeated request is the same signal.
#[utoipa::path(post, path = "/v1/executions/{id}/signals", tag = "executions", operation_id = "signal_execution", request_body = Signal,
    params(("id" = String, Path, description = "The execution's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = Signalled, description = "Stored, and on the way to the execution"),
        (status = 404, body = Problem, description = "There is no such execution"),
        (status = 409, body = Problem, description = "The execution has ended")))]
pub(crate) async fn signal(
    State(app): State<App>,
    Path(execution_id): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<Signalled>), Error> {
    let (key, client) = (key(request.headers())?, Client::of(&request)?);
    let signal: Signal = body::json(request).await?;
    if signal.signal.is_empty() || signal.signal.chars().any(char::is_control) {
        return Err(Error::invalid(format!(
            "`signal` is {:?}, but it must be a name such as \"approved\", without control characters",
            signal.signal
        )));
    }
    let execution = own(&app, &client, &execution_id).await?;
    if execution.is_over() {
        let text = format!("execution {execution_id:?} is {}: it hears nothing", execution.status);
        return Err(Fault::new(Code::Conflict, text).into());
    }
    let id = match key {
        Some(key) => MessageId::derived(["signal", &execution_id, &key.id("signals").to_string()]),
        None => MessageId::random(),
    };
    let command = SignalExecution {
        execution_id: execution_id.clone(),
        signal: signal.signal.clone(),
        payload: signal.payload.map(Into::into),
    };
    app.bus.publish(&command, &id).await?;
    let signalled = Signalled { execution_id, signal: signal.signal, id: id.as_str().to_owned() };
    Ok((StatusCode::ACCEPTED, Json(signalled)))
}
