//! Removes dead letters.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use muster_bus::Range;

use crate::{
    app::App,
    domain::letters::{Chosen, Purging, sequence},
    error::Error,
    problem::Problem,
    query::Query,
    wire::Purged,
};

/// Removes a dead letter. Its message is not handled any more.
#[utoipa::path(delete, path = "/v1/dead-letters/{sequence}", tag = "dead letters", operation_id = "delete_dead_letter",
    params(("sequence" = u64, Path, description = "The letter's sequence")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem)))]
pub(crate) async fn one(
    State(app): State<App>,
    Path(place): Path<String>,
) -> Result<StatusCode, Error> {
    app.bus.dead_letters().purge(sequence(&place)?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes the dead letters that fit, or every one with `all=true`.
#[utoipa::path(delete, path = "/v1/dead-letters", tag = "dead letters", operation_id = "delete_dead_letters", params(Purging),
    responses((status = 200, body = Purged), (status = 400, body = Problem, description = "No letters are named, or a parameter is wrong")))]
pub(crate) async fn many(
    State(app): State<App>,
    Query(chosen): Query<Chosen>,
) -> Result<Json<Purged>, Error> {
    let filter = chosen.for_purge()?.filter_or_all()?;
    let purged = app.bus.dead_letters().purge_all(&filter, Range::ALL).await?;
    Ok(Json(Purged { purged }))
}
