//! One stream of the broker.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::{Code, Fault};

use crate::{app::App, error::Error, problem::Problem, wire::StreamStatus};

/// A stream of the broker with its limits and how it stands.
#[utoipa::path(get, path = "/v1/streams/{name}", tag = "streams", operation_id = "get_stream",
    params(("name" = String, Path, description = "Its name, such as EXECUTIONS")),
    responses((status = 200, body = StreamStatus), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<StreamStatus>, Error> {
    let found = app.bus.streams().info(&name).await?.ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        Fault::new(Code::NotFound, format!("there is no stream {name:?}; GET /v1/streams lists them. A stream of the example team comes into being with its first deliverable"))
    })?;
    Ok(Json(found.into()))
}
