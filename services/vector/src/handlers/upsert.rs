//! Ingests a document.

use muster_bus::{Delivery, MessageId};
use muster_contracts::vector::v1::{UpsertCompleted, UpsertFailed, UpsertRequested};
use muster_contracts::{Code, HasCode as _};

use super::{as_long, comparable};
use crate::app::App;
use crate::domain::{Upsert, Written, chunks, text_of};
use crate::error::{Error, MAX_DIMENSION};
use crate::store::Ingested;

pub(crate) async fn upsert(app: App, request: Delivery<UpsertRequested>) -> Result<(), Error> {
    match ingest(&app, &request).await {
        Ok(completed) => {
            app.bus.publish(&completed, &id("completed", &request)).await?;
        }
        // Who asked has to hear it; a dead letter would tell somebody else.
        Err(error) if is_final(&error) => {
            let failed = UpsertFailed {
                collection: request.collection.clone(),
                document_id: request.document_id.clone(),
                request_id: request.request_id.clone(),
                code: error.code().name().to_owned(),
                error: error.to_string(),
                timestamp: muster_contracts::now(chrono::Utc::now()),
            };
            app.bus.publish(&failed, &id("failed", &request)).await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn ingest(app: &App, request: &Delivery<UpsertRequested>) -> Result<UpsertCompleted, Error> {
    let upsert = Upsert::parse(request, request.time)?;
    if let Some(stored) = app.store.document(&upsert.collection, &upsert.document_id).await?
        && stored.settles(&upsert)
    {
        return Ok(stored.completed(&upsert));
    }
    let collection = app.store.collection(&upsert.collection).await?;
    if let Some(collection) = &collection {
        comparable(app, &upsert.collection, collection)?;
    }
    let bytes = app.bus.artifacts().get(&upsert.artifact).await?;
    let bytes = bytes.ok_or_else(|| Error::UnknownArtifact(upsert.artifact.clone()))?;
    let text = text_of(&upsert.artifact, &bytes)?;
    let ingested = embedded(app, text).await?;
    if let Some(collection) = &collection {
        let made = ingested.embeddings.first().map_or(0, Vec::len);
        as_long(app, &upsert.collection, collection, made)?;
    }
    match app.store.write(&upsert, ingested).await? {
        Written::Stored(stored) => Ok(stored.completed(&upsert)),
        Written::OtherEmbedder { embedder, dimension } => Err(Error::OtherEmbedder {
            collection: upsert.collection,
            theirs: embedder,
            dimension,
            ours: app.embedder.name().to_owned(),
        }),
    }
}

/// The chunks of a text with their vectors.
async fn embedded(app: &App, text: String) -> Result<Ingested<'_>, Error> {
    // Some seconds for the largest document: too long for a thread that others wait for.
    let chunks =
        tokio::task::spawn_blocking(move || chunks(&text)).await.map_err(anyhow::Error::from)??;
    let texts: Vec<String> = chunks.iter().map(|chunk| chunk.text.clone()).collect();
    let embeddings = app.embedder.embed(&texts).await?;
    let embedder = app.embedder.name();
    let dimension = embeddings.first().map_or(0, Vec::len);
    if !(1..=MAX_DIMENSION).contains(&dimension) {
        return Err(Error::Dimension { embedder: embedder.to_owned(), dimension });
    }
    Ok(Ingested { embedder, chunks, embeddings })
}

/// Whether a second try would fail as the first.
fn is_final(error: &Error) -> bool {
    matches!(error.code(), Code::Invalid | Code::NotFound | Code::Conflict | Code::Denied)
}

fn id(outcome: &str, request: &UpsertRequested) -> MessageId {
    MessageId::derived([
        "vector.upsert",
        outcome,
        &request.collection,
        &request.document_id,
        &request.request_id,
    ])
}
