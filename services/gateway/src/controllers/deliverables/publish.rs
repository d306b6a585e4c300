//! Stores a deliverable.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::{Code, now};
use muster_deliverable::{Address, Deliverables, Draft};

use crate::{
    app::App,
    body,
    controllers::executions::start::key,
    error::Error,
    problem::Problem,
    wire::{NewDeliverable, PublishedDeliverable},
};

/// Stores what somebody produced. The same content at the same address for the same execution is stored once within ten minutes (the example team's: two); with an `Idempotency-Key`, whatever has that key.
#[utoipa::path(post, path = "/v1/deliverables", tag = "deliverables", operation_id = "publish_deliverable", request_body = NewDeliverable,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 201, body = PublishedDeliverable, description = "Stored; `Location` is where it is"),
        (status = 200, body = PublishedDeliverable, description = "It was there already"),
        (status = 400, body = Problem), (status = 413, body = Problem, description = "Larger than 10 MiB"),
        (status = 422, body = Problem, description = "The key belongs to another deliverable")))]
pub(crate) async fn publish(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let key = key(request.headers())?;
    let new: NewDeliverable = body::json_within(request, body::INPUT_LIMIT).await?;
    if new.content.is_empty() {
        return Err(Error::invalid("`content` is empty; a deliverable has at least one byte"));
    }
    let team = new.team.unwrap_or_default();
    let address = Address::new(&team, &new.agent, &new.kind, &new.feature)
        .map_err(|error| Error::invalid(error.to_string()))?;
    let draft = Draft {
        address,
        content: new.content,
        execution_id: new.execution_id.unwrap_or_default(),
        task: new.task.unwrap_or_default(),
        timestamp: now(Utc::now()),
    };
    let id =
        key.as_ref().map(|key| MessageId::derived([key.id("deliverables").to_string().as_str()]));
    let published = Box::pin(Deliverables::new(&app.bus).publish(draft, id)).await;
    let published = published.map_err(|fault| match key {
        Some(key) if fault.code == Code::Conflict => Error::KeyReused(key.text().to_owned()),
        _ => fault.into(),
    })?;
    let status = if published.duplicate { StatusCode::OK } else { StatusCode::CREATED };
    let location = format!("/v1/{}", published.address);
    let published = PublishedDeliverable::from(published);
    Ok((status, [(header::LOCATION, location)], Json(published)).into_response())
}
