//! The streams of the broker.

use axum::{Json, extract::State};

use crate::{app::App, error::Error, wire::StreamStatuses};

/// Every stream of the broker with its limits and how it stands, buckets and object stores included.
#[utoipa::path(get, path = "/v1/streams", tag = "streams", operation_id = "list_streams", responses((status = 200, body = StreamStatuses)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<StreamStatuses>, Error> {
    let streams = app.bus.streams().list().await?;
    Ok(Json(StreamStatuses { streams: streams.into_iter().map(Into::into).collect() }))
}
