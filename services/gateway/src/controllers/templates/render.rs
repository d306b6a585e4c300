//! Fills a template.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::{JsonObject, template::v1::RenderTemplateRequest};

use crate::{
    app::App,
    body,
    domain::name,
    error::Error,
    problem::Problem,
    wire::{RenderedTemplate, TemplateValues},
};

/// Fills a template. The same version with the same values always gives the same text.
#[utoipa::path(post, path = "/v1/templates/{name}/render", tag = "templates", operation_id = "render_template", request_body = TemplateValues,
    params(("name" = String, Path, description = "The template's name")),
    responses((status = 200, body = RenderedTemplate), (status = 404, body = Problem, description = "There is no such template or version"),
        (status = 400, body = Problem, description = "A variable is missing, unknown or unfit, or the text becomes too long")))]
pub(crate) async fn render(
    State(app): State<App>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<RenderedTemplate>, Error> {
    name::name("template's name", &name)?;
    let values: TemplateValues = body::json(request).await?;
    let request = RenderTemplateRequest {
        template: name,
        version: values.version,
        vars: Some(JsonObject(values.vars)),
        ..Default::default()
    };
    Ok(Json(app.bus.request(&request).await?.into()))
}
