//! Shows a template.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::template::v1::GetTemplateDefinitionRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{app::App, domain::name, error::Error, problem::Problem, query::Query, wire::Template};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The version, by its digest; absent: the latest.
    #[serde(default)]
    version: String,
}

/// A template, or a version of it: every version that was ever registered stays readable.
#[utoipa::path(get, path = "/v1/templates/{name}", tag = "templates", operation_id = "get_template",
    params(("name" = String, Path, description = "The template's name"), Which),
    responses((status = 200, body = Template), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(name): Path<String>,
    Query(Which { version }): Query<Which>,
) -> Result<Json<Template>, Error> {
    name::name("template's name", &name)?;
    Ok(Json(app.bus.request(&GetTemplateDefinitionRequest { name, version }).await?.into()))
}
