//! Removes a thread.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::thread::v1::DeleteThreadRequest;

use crate::{app::App, auth::Client, error::Error, problem::Problem};

/// Removes a thread; a run that is busy is cancelled.
#[utoipa::path(delete, path = "/v1/threads/{id}", tag = "threads", operation_id = "delete_thread",
    params(("id" = String, Path, description = "The thread's id")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn delete(
    State(app): State<App>,
    client: Client,
    Path(thread_id): Path<String>,
) -> Result<StatusCode, Error> {
    let request = DeleteThreadRequest { thread_id, tenant: client.tenant.clone() };
    app.bus.request(&request).await?;
    Ok(StatusCode::NO_CONTENT)
}
