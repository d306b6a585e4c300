//! Lists the versions of a template.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::template::v1::ListTemplateVersionsRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem, wire::TemplateVersions};

/// The versions of a template, the newest first; of a removed template too.
#[utoipa::path(get, path = "/v1/templates/{name}/versions", tag = "templates", operation_id = "list_template_versions",
    params(("name" = String, Path, description = "The template's name")),
    responses((status = 200, body = TemplateVersions), (status = 404, body = Problem)))]
pub(crate) async fn versions(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<Json<TemplateVersions>, Error> {
    name::name("template's name", &name)?;
    Ok(Json(app.bus.request(&ListTemplateVersionsRequest { name }).await?.into()))
}
