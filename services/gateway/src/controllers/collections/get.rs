//! Shows a document.

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::vector::v1::GetDocumentRequest;

use crate::{
    app::App,
    domain::name::{document_id, name},
    error::Error,
    problem::Problem,
    wire::Document,
};

/// The state of a document.
#[utoipa::path(get, path = "/v1/collections/{name}/documents/{id}", tag = "collections", operation_id = "get_document",
    params(("name" = String, Path, description = "The collection's name"), ("id" = String, Path, description = "The document's id")),
    responses((status = 200, body = Document), (status = 404, body = Problem, description = "Not there, or not ingested yet")))]
pub(crate) async fn get(
    State(app): State<App>,
    Path((collection, id)): Path<(String, String)>,
) -> Result<Json<Document>, Error> {
    name("collection's name", &collection)?;
    document_id(&id)?;
    Ok(Json(app.bus.request(&GetDocumentRequest { collection, document_id: id }).await?.into()))
}
