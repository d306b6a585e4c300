//! Begins a thread.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_contracts::{JsonObject, thread::v1::CreateThreadRequest};
use uuid::Uuid;

use crate::{
    app::App,
    auth::Client,
    body,
    controllers::executions::start::key,
    domain::openai::AGENT,
    error::Error,
    problem::Problem,
    wire::{NewThread, Thread},
};

/// Begins a conversation with an agent. With an `Idempotency-Key`, or a `thread_id` of the client's own, a repeated request
/// is the same thread.
#[utoipa::path(post, path = "/v1/threads", tag = "threads", operation_id = "create_thread", request_body = NewThread,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 201, body = Thread, description = "Begun; `Location` is where it is"),
        (status = 404, body = Problem, description = "There is no such agent"),
        (status = 409, body = Problem, description = "The thread is there with another agent")))]
pub(crate) async fn create(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let (key, client) = (key(request.headers())?, Client::of(&request)?);
    let new: NewThread = body::json(request).await?;
    client.may_use(&format!("{AGENT}{}", new.agent))?;
    let thread_id = new.thread_id.unwrap_or_else(|| match key {
        Some(key) => key.id(&client.scope("threads")).to_string(),
        None => Uuid::now_v7().to_string(),
    });
    let request = CreateThreadRequest {
        thread_id,
        agent: new.agent,
        on_busy: new.on_busy,
        metadata: Some(JsonObject(new.metadata)),
        tenant: client.tenant.clone(),
    };
    let thread: Thread = app.bus.request(&request).await?.into();
    let location = format!("/v1/threads/{}", thread.thread_id);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(thread)).into_response())
}
