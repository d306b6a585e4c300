//! Searches a collection.

use std::collections::HashMap;
use std::time::Instant;

use muster_bus::MessageId;
use muster_contracts::JsonObject;
use muster_contracts::vector::v1::{Hit, SearchCompleted, SearchRequest, SearchResponse};

use super::{as_long, comparable};
use crate::app::App;
use crate::domain::{Query, Ranked, fuse};
use crate::error::Error;
use crate::store::{Collection, Found};

pub(crate) async fn search(app: App, request: SearchRequest) -> Result<SearchResponse, Error> {
    let started = Instant::now();
    let query = Query::parse(&request)?;
    let collection = app.store.collection(&query.collection).await?;
    let collection =
        collection.ok_or_else(|| Error::UnknownCollection(query.collection.clone()))?;
    comparable(&app, &query.collection, &collection)?;
    let hits = find(&app, &query, &collection).await?;
    let took_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    let id = MessageId::random();
    let completed = SearchCompleted {
        query_id: id.as_str().to_owned(),
        collection: query.collection,
        execution_id: query.execution_id,
        hits: u32::try_from(hits.len()).unwrap_or(u32::MAX),
        took_ms,
    };
    app.bus.publish(&completed, &id).await?;
    Ok(SearchResponse { hits, took_ms, embedder: app.embedder.name().to_owned() })
}

async fn find(app: &App, query: &Query, collection: &Collection) -> Result<Vec<Hit>, Error> {
    let embeddings = app.embedder.embed(std::slice::from_ref(&query.text)).await?;
    let made = embeddings.first().map_or(0, Vec::len);
    as_long(app, &query.collection, collection, made)?;
    // The vector of a text without words points nowhere, and nothing is near to nowhere.
    let embedding = embeddings.into_iter().next().filter(|e| e.iter().any(|n| *n != 0.0));
    let mut search = app.store.search().await?;
    let near = match embedding {
        Some(embedding) => search.nearest(query, embedding).await?,
        None => Vec::new(),
    };
    let words = search.by_words(query).await?;
    let ranked = fuse(&near, &words, query.top_k);
    let ids: Vec<i64> = ranked.iter().map(|ranked| ranked.chunk).collect();
    let found = search.found(&ids).await?;
    let mut found: HashMap<i64, Found> = found.into_iter().map(|chunk| (chunk.id, chunk)).collect();
    Ok(ranked
        .into_iter()
        .filter_map(|ranked| Some(hit(ranked, found.remove(&ranked.chunk)?)))
        .collect())
}

fn hit(ranked: Ranked, found: Found) -> Hit {
    Hit {
        document_id: found.document_id,
        title: found.title,
        chunk: u32::try_from(found.place).unwrap_or_default(),
        text: found.text,
        score: ranked.score,
        similarity: ranked.similarity,
        metadata: Some(JsonObject::wrap(found.metadata)),
    }
}
