//! Lists the templates.

use axum::{Json, extract::State};
use muster_contracts::template::v1::ListTemplatesRequest;

use crate::{
    app::App,
    error::Error,
    wire::{Template, Templates},
};

/// All templates, the built-in ones too.
#[utoipa::path(get, path = "/v1/templates", tag = "templates", operation_id = "list_templates", responses((status = 200, body = Templates)))]
pub(crate) async fn list(State(app): State<App>) -> Result<Json<Templates>, Error> {
    let list = app.bus.request(&ListTemplatesRequest {}).await?;
    Ok(Json(Templates { templates: list.templates.into_iter().map(Template::from).collect() }))
}
