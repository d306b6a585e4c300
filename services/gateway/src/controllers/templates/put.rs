//! Registers a template.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::template::v1::PutTemplateRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    domain::name,
    error::Error,
    problem::Problem,
    query::Query,
    wire::Template,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// Register nothing: the answer is what would be registered.
    #[serde(default)]
    check: bool,
}

/// Registers a template, or replaces the one with this name. Its versions stay.
#[utoipa::path(put, path = "/v1/templates/{name}", tag = "templates", operation_id = "put_template",
    params(("name" = String, Path, description = "The template's name"), How),
    request_body(content((Template = "application/yaml"), (Template = "application/json"))),
    responses((status = 200, body = Template), (status = 400, body = Problem, description = "The definition is wrong: an unknown field or variable, a place that templates do not have, a bad schema")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(path): Path<String>,
    Query(how): Query<How>,
    request: Request,
) -> Result<Json<Template>, Error> {
    let path = name::name("template's name", &path)?;
    let mut template: Template =
        Payload::read(request, &[Media::Yaml, Media::Json], LIMIT).await?.parse()?;
    if !template.name.is_empty() && template.name != path {
        return Err(Error::invalid(format!(
            "the body names the template {:?}, but the path names {path:?}; make them equal, or leave the name out of the body",
            template.name
        )));
    }
    path.clone_into(&mut template.name);
    let request = PutTemplateRequest { definition: Some(template.into()), check_only: how.check };
    Ok(Json(app.bus.request(&request).await?.into()))
}
