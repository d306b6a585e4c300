//! One file for each request or event.

pub(crate) mod get_document;
pub(crate) mod search;
pub(crate) mod upsert;

use crate::app::App;
use crate::error::Error;
use crate::store::Collection;

/// Fails where the vectors of a collection cannot be compared with those of this service's embedder.
fn comparable(app: &App, name: &str, collection: &Collection) -> Result<(), Error> {
    if collection.embedder == app.embedder.name() {
        return Ok(());
    }
    Err(Error::OtherEmbedder {
        collection: name.to_owned(),
        theirs: collection.embedder.clone(),
        dimension: collection.dimension,
        ours: app.embedder.name().to_owned(),
    })
}

/// The same for the vectors that were made, whose length a setting can change.
fn as_long(app: &App, name: &str, collection: &Collection, made: usize) -> Result<(), Error> {
    if collection.dimension == made {
        return Ok(());
    }
    Err(Error::OtherDimension {
        collection: name.to_owned(),
        embedder: app.embedder.name().to_owned(),
        theirs: collection.dimension,
        ours: made,
    })
}
