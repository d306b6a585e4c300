//! Lists threads.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{Json, extract::State};
use muster_contracts::thread::v1::ListThreadsRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    auth::Client,
    domain::written::written,
    error::Error,
    problem::Problem,
    query::Query,
    wire::{Thread, Threads},
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Chosen {
    /// Only those with this agent.
    #[serde(default)]
    agent: String,
    /// How many at most, 1 to 1000; absent: 100.
    #[serde(default, deserialize_with = "written")]
    limit: Option<u64>,
}

/// Threads, the one that changed last first, without their messages.
#[utoipa::path(get, path = "/v1/threads", tag = "threads", operation_id = "list_threads", params(Chosen),
    responses((status = 200, body = Threads), (status = 400, body = Problem, description = "A parameter is wrong")))]
pub(crate) async fn list(
    State(app): State<App>,
    client: Client,
    Query(chosen): Query<Chosen>,
) -> Result<Json<Threads>, Error> {
    let limit = chosen.limit.unwrap_or(100);
    let limit = u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=1000).contains(limit))
        .ok_or_else(|| Error::invalid(format!("limit is {limit}, but it must be 1 to 1000")))?;
    let tenant = client.tenant.clone();
    let request = ListThreadsRequest { agent: chosen.agent, limit, tenant };
    let list = app.bus.request(&request).await?;
    Ok(Json(Threads { threads: list.threads.into_iter().map(Thread::from).collect() }))
}
