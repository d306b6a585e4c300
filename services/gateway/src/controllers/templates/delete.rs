//! Removes a template.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use muster_contracts::template::v1::DeleteTemplateRequest;

use crate::{app::App, domain::name, error::Error, problem::Problem};

/// Removes a template. Its versions stay and can be filled, and a built-in one with its name is back.
#[utoipa::path(delete, path = "/v1/templates/{name}", tag = "templates", operation_id = "delete_template",
    params(("name" = String, Path, description = "The template's name")),
    responses((status = 204, description = "Removed"), (status = 404, body = Problem),
        (status = 409, body = Problem, description = "It is built in")))]
pub(crate) async fn delete(
    State(app): State<App>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    name::name("template's name", &name)?;
    app.bus.request(&DeleteTemplateRequest { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}
