//! Tells the state of a document.

use muster_contracts::vector::v1::{DocumentState, GetDocumentRequest};

use crate::app::App;
use crate::domain;
use crate::error::Error;

pub(crate) async fn get_document(
    app: App,
    request: GetDocumentRequest,
) -> Result<DocumentState, Error> {
    let collection = domain::collection(&request.collection)?;
    let document_id = domain::document_id(&request.document_id)?;
    let stored = app.store.document(&collection, &document_id).await?;
    Ok(stored.ok_or(Error::UnknownDocument { collection, document_id })?.into())
}
