//! Takes events from outside, as CloudEvents come over HTTP.

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
};
use muster_bus::MessageId;
use muster_contracts::workflow::v1::CloudEvent;

use crate::{
    app::App,
    body,
    domain::cloud_event,
    error::Error,
    problem::Problem,
    wire::{PublishedEvent, PublishedEvents},
};

/// Publishes an event for everyone who listens for one like it. The event comes as CloudEvents 1.0 over HTTP: structured
/// (`application/cloudevents+json`), several (`application/cloudevents-batch+json`), or binary (`ce-…` headers, and the body is
/// the data). `source` and `id` together are unique: the same event a second time changes nothing.
#[utoipa::path(post, path = "/v1/events", tag = "events", operation_id = "publish_events",
    request_body(content((Object = "application/cloudevents+json"), (Vec<Object> = "application/cloudevents-batch+json"))),
    params(("ce-id" = Option<String>, Header, description = "Binary mode: the event's id; `ce-source` and `ce-type` must be there too, all other attributes may be")),
    responses((status = 202, body = PublishedEvents, description = "Stored, and on the way to who listens"),
        (status = 400, body = Problem, description = "Not an event"), (status = 415, body = Problem)))]
pub(crate) async fn publish(
    State(app): State<App>,
    request: Request,
) -> Result<(StatusCode, Json<PublishedEvents>), Error> {
    let (headers, bytes) = body::bytes(request).await?;
    let events = cloud_event::read(&headers, &bytes)?;
    let mut published = Vec::with_capacity(events.len());
    for event in events {
        published.push(one(&app, event).await?);
    }
    Ok((StatusCode::ACCEPTED, Json(PublishedEvents { events: published })))
}

async fn one(app: &App, event: CloudEvent) -> Result<PublishedEvent, Error> {
    let id = MessageId::derived(["event", event.source.as_str(), event.id.as_str()]);
    let stored = app.bus.publish(&event, &id).await?;
    let duplicate = stored.duplicate;
    Ok(PublishedEvent { id: event.id, source: event.source, r#type: event.r#type, duplicate })
}
