//! Messages to agents.

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::agent::v1::{AgentBroadcast, AgentMessage, GetAgentRequest};
use muster_contracts::now;

use crate::{
    app::App,
    body,
    controllers::executions::start::key,
    domain::{idempotency::Key, name},
    error::Error,
    problem::Problem,
    wire::{AcceptedMessage, NewAgentMessage},
};

/// Sends a message to an agent: it reads it with its tool `read_inbox`.
#[utoipa::path(post, path = "/v1/agents/{name}/inbox", tag = "agents", operation_id = "send_to_agent", request_body = NewAgentMessage,
    params(("name" = String, Path, description = "The agent's name"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = AcceptedMessage), (status = 404, body = Problem, description = "There is no such agent")))]
pub(crate) async fn send(
    State(app): State<App>,
    Path(to_agent): Path<String>,
    request: Request,
) -> Result<(StatusCode, Json<AcceptedMessage>), Error> {
    name::name("agent's name", &to_agent)?;
    let key = key(request.headers())?;
    let message = read(request).await?;
    app.bus.request(&GetAgentRequest { name: to_agent.clone(), ..Default::default() }).await?;
    let id = id(key.as_ref(), &format!("inbox {to_agent}"));
    let message = AgentMessage {
        to_agent,
        from_agent: message.from_agent,
        content: message.content,
        message_type: message.message_type,
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&message, &id).await?;
    Ok(accepted(&id))
}

/// Sends a message to all agents that have an inbox, and to every program that listens.
#[utoipa::path(post, path = "/v1/agents/broadcast", tag = "agents", operation_id = "broadcast_to_agents", request_body = NewAgentMessage,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = AcceptedMessage)))]
pub(crate) async fn broadcast(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<AcceptedMessage>), Error> {
    let key = key(request.headers())?;
    let message = read(request).await?;
    let id = id(key.as_ref(), "broadcast");
    let message = AgentBroadcast {
        from_agent: message.from_agent,
        content: message.content,
        message_type: message.message_type,
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&message, &id).await?;
    Ok(accepted(&id))
}

async fn read(request: Request) -> Result<NewAgentMessage, Error> {
    let message: NewAgentMessage = body::json(request).await?;
    name::name("sender (`from_agent`)", &message.from_agent)?;
    if message.content.is_empty() {
        return Err(Error::invalid("`content` is empty, but it must say something"));
    }
    Ok(message)
}

/// A repeated request is the same message.
pub(super) fn id(key: Option<&Key>, scope: &str) -> MessageId {
    key.map_or_else(MessageId::random, |key| {
        MessageId::derived([scope, &key.id("agents").to_string()])
    })
}

fn accepted(id: &MessageId) -> (StatusCode, Json<AcceptedMessage>) {
    (StatusCode::ACCEPTED, Json(AcceptedMessage { id: id.as_str().to_owned() }))
}
