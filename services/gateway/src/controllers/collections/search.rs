//! Searches a collection.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::vector::v1::SearchRequest;

use crate::{
    app::App,
    body,
    domain::name::name,
    error::Error,
    problem::Problem,
    wire::{Hits, Search},
};

const MAX_QUERY: usize = 4096;
const MAX_HITS: u32 = 100;

/// Searches a collection by meaning and by words.
#[utoipa::path(post, path = "/v1/collections/{name}/search", tag = "collections", operation_id = "search", request_body = Search,
    params(("name" = String, Path, description = "The collection's name")),
    responses((status = 200, body = Hits), (status = 400, body = Problem), (status = 404, body = Problem, description = "There is no such collection")))]
pub(crate) async fn search(
    State(app): State<App>,
    Path(collection): Path<String>,
    request: Request,
) -> Result<Json<Hits>, Error> {
    name("collection's name", &collection)?;
    let search: Search = body::json(request).await?;
    let length = search.query.chars().count();
    if search.query.trim().is_empty() || length > MAX_QUERY {
        return Err(Error::invalid(format!(
            "query has {length} characters, but it must have 1 to {MAX_QUERY} and not be blank"
        )));
    }
    if let Some(top_k) = search.top_k.filter(|top_k| !(1..=MAX_HITS).contains(top_k)) {
        return Err(Error::invalid(format!("top_k is {top_k}, but it must be 1 to {MAX_HITS}")));
    }
    let request = SearchRequest {
        collection,
        query: search.query,
        top_k: search.top_k.unwrap_or(0),
        filter: search.filter.map(Into::into),
        execution_id: String::new(),
    };
    Ok(Json(app.bus.request(&request).await?.into()))
}
