//! Shows a thread.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::thread::v1::GetThreadRequest;

use crate::{app::App, auth::Client, error::Error, problem::Problem, wire::Thread};

/// A thread with its messages.
#[utoipa::path(get, path = "/v1/threads/{id}", tag = "threads", operation_id = "get_thread",
    params(("id" = String, Path, description = "The thread's id")),
    responses((status = 200, body = Thread), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    client: Client,
    Path(thread_id): Path<String>,
) -> Result<Json<Thread>, Error> {
    let request = GetThreadRequest { thread_id, tenant: client.tenant.clone() };
    Ok(Json(app.bus.request(&request).await?.into()))
}
