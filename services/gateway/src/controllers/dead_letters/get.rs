//! Shows a dead letter.

use axum::{
    Json,
    extract::{Path, State},
};

use crate::{
    app::App, domain::letters::sequence, error::Error, problem::Problem, wire::DeadLetter,
};

/// A dead letter with the headers and the body of its message.
#[utoipa::path(get, path = "/v1/dead-letters/{sequence}", tag = "dead letters", operation_id = "get_dead_letter",
    params(("sequence" = u64, Path, description = "The letter's sequence")),
    responses((status = 200, body = DeadLetter), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(place): Path<String>,
) -> Result<Json<DeadLetter>, Error> {
    let letters = app.bus.dead_letters();
    let letter = letters.show(sequence(&place)?).await?;
    let original = letters.original(&letter.content).await;
    Ok(Json(DeadLetter::in_full(letter, &original)))
}
