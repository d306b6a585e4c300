//! Tells what happened in an execution: recorded events as JSON, or a live stream.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{KeepAlive, Sse},
    },
};
use futures::StreamExt;
use muster_contracts::{log::v1::GetTimelineRequest, subject};
use serde::Deserialize;
use std::{sync::Arc, time::Duration};
use utoipa::IntoParams;

use crate::{
    app::App, auth::Client, domain::position::Position, error::Error, live, problem::Problem,
    query::Query, wire::Events,
};

/// So often a quiet stream says that it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const MAX_PAGE: u32 = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Page {
    /// JSON only: events behind this sequence.
    after: Option<u64>,
    /// JSON only: how many at most, 1 to 1000; absent: 1000.
    limit: Option<u32>,
    /// Live stream only: as the header `Last-Event-ID`, for clients that cannot set headers.
    last_event_id: Option<String>,
}

/// What happened. With `Accept: text/event-stream` a live stream from the beginning (or behind `Last-Event-ID`) of
/// `step`, `token` and, as the last, `done`; else the recorded events as JSON, page by page.
#[utoipa::path(get, path = "/v1/executions/{id}/events", tag = "executions",operation_id = "get_execution_events",
    params(("id" = String, Path, description = "The execution's id"), Page,
        ("Accept" = Option<String>, Header, description = "`text/event-stream` for the live stream"),
        ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that the client got")),
    responses((status = 200, content((Events = "application/json"), (String = "text/event-stream"))),
        (status = 204, description = "The client has every event already, `done` included"),
        (status = 400, body = Problem, description = "The event id is malformed"),
        (status = 404, body = Problem), (status = 429, body = Problem, description = "Too many live streams are open")))]
pub(crate) async fn events(
    State(app): State<App>,
    client: Client,
    Path(id): Path<String>,
    Query(page): Query<Page>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    subject::token("execution id", &id)?;
    super::check_own(&app, &client, &id).await?;
    if accepts_stream(&headers) {
        return stream(app, &client, id, last_event_id(&headers, &page)?).await;
    }
    recorded(&app, id, &page).await.map(IntoResponse::into_response)
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .flat_map(|accept| accept.split(','))
        .any(|media| {
            media
                .split(';')
                .next()
                .is_some_and(|media| media.trim().eq_ignore_ascii_case("text/event-stream"))
        })
}

fn last_event_id(headers: &HeaderMap, page: &Page) -> Result<Option<Position>, Error> {
    let header = headers
        .get("last-event-id")
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let text = header.or_else(|| page.last_event_id.clone()).filter(|text| !text.is_empty());
    Ok(text.map(|text| text.parse()).transpose()?)
}

async fn recorded(app: &App, id: String, page: &Page) -> Result<Json<Events>, Error> {
    let limit = page.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Error::invalid(format!("limit is {limit}, but it must be 1 to {MAX_PAGE}")));
    }
    let request =
        GetTimelineRequest { execution_id: id.clone(), after: page.after.unwrap_or(0), limit };
    let timeline = app.bus.request(&request).await?;
    if timeline.entries.is_empty() {
        // Nothing recorded yet, or no such execution.
        super::state(app, &id).await?;
    }
    Ok(Json(timeline.into()))
}

async fn stream(
    app: App,
    client: &Client,
    id: String,
    last: Option<Position>,
) -> Result<Response, Error> {
    let permit = Arc::clone(&app.streams)
        .try_acquire_owned()
        .map_err(|_full| Error::TooManyStreams(app.max_streams))?;
    super::state(&app, &id).await?;
    let Some(events) = live::events(&app, &id, last.unwrap_or_default(), permit).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let events = events.take_until(app.auth.gone(client));
    let events =
        Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE).text("keep-alive"));
    // Proxies that collect a response before they pass it on would hold every event back.
    Ok(([("x-accel-buffering", "no")], events).into_response())
}
