//! Lists dead letters.

use axum::{Json, extract::State};

use crate::{
    app::App,
    domain::letters::{Chosen, Listing, cursor},
    error::Error,
    problem::Problem,
    query::Query,
    wire::DeadLetters,
};

/// Messages that their consumers gave up, oldest first: 100, or `limit` (1 to 1000).
#[utoipa::path(get, path = "/v1/dead-letters", tag = "dead letters", operation_id = "list_dead_letters", params(Listing),
    responses((status = 200, body = DeadLetters), (status = 400, body = Problem, description = "A parameter is wrong")))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(chosen): Query<Chosen>,
) -> Result<Json<DeadLetters>, Error> {
    let chosen = chosen.for_list()?;
    let (filter, range, limit) = (chosen.filter(), chosen.range()?, chosen.limit(100)?);
    let page = app.bus.dead_letters().find(&filter, range, limit).await?;
    Ok(Json(DeadLetters {
        dead_letters: page.letters.into_iter().map(Into::into).collect(),
        next: page.next.map(cursor),
    }))
}
