//! Has dead letters handled again.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
};
use muster_bus::Pace;

use crate::{
    app::App,
    body,
    domain::letters::{Chosen, sequence},
    error::Error,
    problem::Problem,
    wire::{Replay, Replays},
};

/// How long an answer waits for handlers. They go on behind it.
const WAIT: Duration = Duration::from_secs(60);

/// Has the message of a dead letter handled again, under its original id, by the consumer that gave it up and by no other.
#[utoipa::path(post, path = "/v1/dead-letters/{sequence}/replay", tag = "dead letters", operation_id = "replay_dead_letter",
    params(("sequence" = u64, Path, description = "The letter's sequence")),
    responses((status = 200, body = Replay, description = "The handler has ended: `handled` or `failed`"),
        (status = 202, body = Replay, description = "The handler still works after 60 s; the letter goes when it has handled the message"),
        (status = 404, body = Problem, description = "No such letter, or its consumer is no more"), (status = 409, body = Problem, description = "It is being replayed"),
        (status = 503, body = Problem, description = "Its service does not run")))]
pub(crate) async fn one(
    State(app): State<App>,
    Path(place): Path<String>,
) -> Result<(StatusCode, Json<Replay>), Error> {
    let sequence = sequence(&place)?;
    let letters = app.bus.dead_letters();
    match tokio::time::timeout(WAIT, letters.replay(sequence)).await {
        Ok(replayed) => Ok((StatusCode::OK, Json(replayed?.into()))),
        Err(_elapsed) => {
            let outcome = "running".to_owned();
            let running = Replay { outcome, sequence: Some(sequence), ..Replay::default() };
            Ok((StatusCode::ACCEPTED, Json(running)))
        }
    }
}

/// Replays the dead letters that fit, or every one with `all: true`: oldest first, `rate` a second (1 to 1000; 50), at most `limit` (1 to 1000; 1000), for at most 60 s.
#[utoipa::path(post, path = "/v1/dead-letters/replay", tag = "dead letters", operation_id = "replay_dead_letters", request_body = Chosen,
    responses((status = 200, body = Replays), (status = 400, body = Problem, description = "No letters are named, or a field is wrong")))]
pub(crate) async fn many(State(app): State<App>, request: Request) -> Result<Json<Replays>, Error> {
    let chosen: Chosen = body::json(request).await?;
    let (filter, range) = (chosen.filter_or_all()?, chosen.range()?);
    let pace = Pace { per_second: chosen.rate()?, limit: chosen.limit(1000)?, time: WAIT };
    Ok(Json(app.bus.dead_letters().replay_all(&filter, range, pace).await?.into()))
}
