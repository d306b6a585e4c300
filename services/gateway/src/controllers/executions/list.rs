//! Lists executions.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use muster_contracts::{log::v1::ListExecutionsRequest, now};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App, auth::Client, domain::written::written, error::Error, problem::Problem, query::Query,
    wire::Executions,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Wanted {
    /// How they stand: running, waiting, suspended, completed, faulted or cancelled. What is pending has not begun and is not listed.
    status: Option<String>,
    /// The workflow's name.
    workflow: Option<String>,
    /// Executions that began at this time or later.
    #[serde(default, deserialize_with = "written")]
    since: Option<DateTime<Utc>>,
    /// Executions that began before this time.
    #[serde(default, deserialize_with = "written")]
    until: Option<DateTime<Utc>>,
    /// `next` of the answer before.
    cursor: Option<String>,
    /// How many at most, 1 to 1000; absent: 100.
    #[serde(default, deserialize_with = "written")]
    limit: Option<u64>,
}

/// Executions that fit, those that began last first. The list follows the executions: what happened a moment ago may not
/// be in it yet.
#[utoipa::path(get, path = "/v1/executions", tag = "executions", operation_id = "list_executions", params(Wanted),
    responses((status = 200, body = Executions), (status = 400, body = Problem, description = "A parameter is wrong")))]
pub(crate) async fn list(
    State(app): State<App>,
    client: Client,
    Query(wanted): Query<Wanted>,
) -> Result<Json<Executions>, Error> {
    let limit = wanted.limit.unwrap_or(100);
    let limit = u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=1000).contains(limit))
        .ok_or_else(|| Error::invalid(format!("limit is {limit}, but it must be 1 to 1000")))?;
    let request = ListExecutionsRequest {
        status: wanted.status.unwrap_or_default(),
        workflow: wanted.workflow.unwrap_or_default(),
        since: wanted.since.and_then(now),
        until: wanted.until.and_then(now),
        cursor: wanted.cursor.unwrap_or_default(),
        limit,
        tenant: client.tenant.clone(),
    };
    Ok(Json(app.bus.request(&request).await?.into()))
}
