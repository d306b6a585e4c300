//! What deliverables there are.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{Json, extract::State};
use muster_deliverable::{Deliverables, Listing};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{app::App, error::Error, problem::Problem, query::Query, wire};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Chosen {
    /// `agog`: those of the example team, one member after the other. Absent: all others.
    team: Option<String>,
    /// Who produced them.
    agent: Option<String>,
    /// What kind of thing they are.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// What they are about.
    feature: Option<String>,
    /// The id of the execution that they belong to.
    execution: Option<String>,
    /// Every version, not only the newest of each address.
    versions: Option<bool>,
    /// The `next` of the page before.
    after: Option<String>,
    /// How many at most, 1 to 1000; 100 where it is absent.
    limit: Option<usize>,
}

/// What agents produced, oldest first, without the contents: those stay where they are.
#[utoipa::path(get, path = "/v1/deliverables", tag = "deliverables", operation_id = "list_deliverables", params(Chosen),
    responses((status = 200, body = wire::Deliverables), (status = 400, body = Problem, description = "A parameter is wrong")))]
pub(crate) async fn list(
    State(app): State<App>,
    Query(chosen): Query<Chosen>,
) -> Result<Json<wire::Deliverables>, Error> {
    let listing = Listing {
        team: chosen.team.unwrap_or_default(),
        agent: chosen.agent.unwrap_or_default(),
        kind: chosen.kind.unwrap_or_default(),
        feature: chosen.feature.unwrap_or_default(),
        execution_id: chosen.execution.unwrap_or_default(),
        versions: chosen.versions.unwrap_or_default(),
        after: chosen.after.unwrap_or_default(),
        limit: chosen.limit.unwrap_or(100),
    };
    Ok(Json(Deliverables::new(&app.bus).list(&listing).await?.into()))
}
