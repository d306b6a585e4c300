//! Collections: documents in, hits out.

use chrono::{DateTime, Utc};
use muster_contracts::vector::v1 as contract;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{some, when};

/// A document to ingest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// Absent: made from the text, so that the same text is the same document. A document with the same id is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What to call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The text, plain or Markdown, 1 byte to 8 MiB.
    pub text: String,
    /// What a search can filter by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub metadata: Option<Map<String, Value>>,
}

/// A document that can be searched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Document {
    /// The collection's name.
    pub collection: String,
    /// The document's id.
    pub id: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// In how many pieces it was cut.
    pub chunks: u32,
    /// Tokens of the text.
    pub tokens: u32,
    /// What made the vectors, e.g. `hashing-256` or `text-embedding-3-small`.
    pub embedder: String,
    /// When it was ingested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingested_at: Option<DateTime<Utc>>,
}

/// A document that is not ingested yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingDocument {
    /// The collection's name.
    pub collection: String,
    /// The document's id.
    pub id: String,
    /// `pending`.
    pub status: String,
}

/// A search in a collection, by meaning and by words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// 1 to 4096 characters.
    pub query: String,
    /// How many hits, 1 to 100; absent: 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 100)]
    pub top_k: Option<u32>,
    /// Only documents whose metadata has these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub filter: Option<Map<String, Value>>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hits {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
    /// What made the vectors.
    pub embedder: String,
}

/// A piece of a document that fits the query.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Hit {
    /// The document's id.
    pub document_id: String,
    /// The document's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The piece's place in its document, from 0.
    pub chunk: u32,
    /// The piece.
    pub text: String,
    /// The merged score of both ranks (reciprocal rank fusion); larger is better.
    pub score: f64,
    /// Cosine similarity, -1 to 1; absent where only words matched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f64>,
    /// The document's metadata.
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

impl From<contract::DocumentState> for Document {
    fn from(state: contract::DocumentState) -> Self {
        Self {
            collection: state.collection,
            id: state.document_id,
            title: some(state.title),
            chunks: state.chunks,
            tokens: state.tokens,
            embedder: state.embedder,
            ingested_at: when(state.ingested_at.as_ref()),
        }
    }
}

impl From<contract::UpsertCompleted> for Document {
    fn from(event: contract::UpsertCompleted) -> Self {
        Self {
            collection: event.collection,
            id: event.document_id,
            title: None,
            chunks: event.chunks,
            tokens: event.tokens,
            embedder: event.embedder,
            ingested_at: when(event.timestamp.as_ref()),
        }
    }
}

impl From<contract::SearchResponse> for Hits {
    fn from(response: contract::SearchResponse) -> Self {
        Self {
            hits: response.hits.into_iter().map(Hit::from).collect(),
            took_ms: response.took_ms,
            embedder: response.embedder,
        }
    }
}

impl From<contract::Hit> for Hit {
    fn from(hit: contract::Hit) -> Self {
        Self {
            document_id: hit.document_id,
            title: some(hit.title),
            chunk: hit.chunk,
            text: hit.text,
            score: hit.score,
            similarity: hit.similarity,
            metadata: hit.metadata.unwrap_or_default().0,
        }
    }
}
