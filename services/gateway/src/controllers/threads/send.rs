//! Sends a message to a thread.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use muster_bus::Bucket;
use muster_contracts::thread::v1::{GetThreadRequest, SendMessageRequest};
use uuid::Uuid;

use crate::{
    app::App,
    auth::Client,
    body,
    controllers::executions::{record_key, start::key},
    domain::{idempotency::StartRecord, openai::AGENT},
    error::Error,
    problem::Problem,
    wire::{NewMessage, SentMessage},
};

/// Sends a message. An execution answers it, which can be followed, cancelled and asked for its usage like any other.
/// While a run is busy the message waits, is refused, or stops the run, as `on_busy` says. With an `Idempotency-Key` a
/// repeated request is the same message.
#[utoipa::path(post, path = "/v1/threads/{id}/messages", tag = "threads", operation_id = "send_message", request_body = NewMessage,
    params(("id" = String, Path, description = "The thread's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = SentMessage, description = "Taken; `Location` is the execution that answers"),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "A run is busy, and the message is not to wait"),
        (status = 429, body = Problem, description = "The thread is full, or too many messages wait")))]
pub(crate) async fn send(
    State(app): State<App>,
    Path(thread_id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    let (key, client) = (key(request.headers())?, Client::of(&request)?);
    let NewMessage { content, on_busy } = body::json(request).await?;
    check_agent(&app, &client, &thread_id).await?;
    let message_id = match key {
        Some(key) => key.id(&format!("threads/{thread_id}")),
        None => Uuid::now_v7(),
    };
    let (tenant, key_id) = (client.tenant.clone(), client.key_id.clone());
    let message_id = message_id.to_string();
    let request = SendMessageRequest { thread_id, message_id, content, on_busy, tenant, key_id };
    let sent = app.bus.request(&request).await?;
    let record = StartRecord {
        request: String::new(),
        workflow: sent.workflow.clone(),
        version: sent.version.clone(),
        digest: sent.digest.clone(),
        at: Utc::now(),
        tenant: client.tenant.clone(),
        key_id: client.key_id.clone(),
    };
    // Until the engine has begun, and as long as the message waits, the execution is `pending`.
    app.bus.kv(Bucket::Idempotency).put(&record_key(&sent.execution_id), &record).await?;
    let location = format!("/v1/executions/{}", sent.execution_id);
    let sent = Json(SentMessage::from(sent));
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], sent).into_response())
}

/// Refuses a thread whose agent the key is not for. A key that is for everything need not ask.
async fn check_agent(app: &App, client: &Client, thread_id: &str) -> Result<(), Error> {
    if client.models.is_empty() {
        return Ok(());
    }
    let request =
        GetThreadRequest { thread_id: thread_id.to_owned(), tenant: client.tenant.clone() };
    let thread = app.bus.request(&request).await?;
    client.may_use(&format!("{AGENT}{}", thread.agent))
}
