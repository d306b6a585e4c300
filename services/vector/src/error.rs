//! The service's errors.

use muster_contracts::{Code, Fault, HasCode};
use muster_runtime::database::is_away;

use crate::domain::Problem;
use crate::providers;

/// Why a request or event was not served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The input is wrong.
    #[error(transparent)]
    Input(#[from] Problem),
    /// A search in a collection that is not there.
    #[error(
        "there is no collection {0:?}: a collection is made when its first document is ingested"
    )]
    UnknownCollection(String),
    /// A question about a document that is not there.
    #[error("there is no document {document_id:?} in collection {collection:?}")]
    UnknownDocument { collection: String, document_id: String },
    /// A request that names no artifact.
    #[error("there is no artifact {0:?}: store the document's text before asking to ingest it")]
    UnknownArtifact(String),
    /// The collection's vectors cannot be compared with the embedder's.
    #[error(
        "collection {collection:?} has vectors of {theirs:?} ({dimension} numbers), but this service embeds with {ours:?}: use another collection, or set MUSTER_EMBEDDING_MODEL to {theirs:?}"
    )]
    OtherEmbedder { collection: String, theirs: String, dimension: usize, ours: String },
    /// The same embedder makes vectors of another length than it did.
    #[error(
        "collection {collection:?} has vectors of {theirs} numbers, but {embedder:?} makes vectors of {ours}: set MUSTER_EMBEDDING_DIMENSIONS to {theirs}, or use another collection"
    )]
    OtherDimension { collection: String, embedder: String, theirs: usize, ours: usize },
    /// No index can hold such vectors.
    #[error(
        "the embedder {embedder:?} makes vectors of {dimension} numbers, but 1 to {MAX_DIMENSION} can be indexed: set MUSTER_EMBEDDING_DIMENSIONS or choose another model"
    )]
    Dimension { embedder: String, dimension: usize },
    /// No vectors.
    #[error(transparent)]
    Embedder(#[from] providers::Error),
    /// Postgres is gone, going or overloaded.
    #[error("Postgres is not available: {0}")]
    DatabaseAway(sqlx::Error),
    /// Postgres refused a statement.
    #[error("a statement failed")]
    Database(#[source] sqlx::Error),
    /// The broker refused.
    #[error(transparent)]
    Bus(#[from] Fault),
    /// A bug.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

/// What pgvector's HNSW index takes at most (as half-precision numbers).
pub(crate) const MAX_DIMENSION: usize = 4000;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::DatabaseAway(error) } else { Self::Database(error) }
    }
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Input(_) | Self::Dimension { .. } => Code::Invalid,
            Self::UnknownCollection(_)
            | Self::UnknownDocument { .. }
            | Self::UnknownArtifact(_) => Code::NotFound,
            Self::OtherEmbedder { .. } | Self::OtherDimension { .. } => Code::Conflict,
            Self::Embedder(error) => error.code(),
            Self::DatabaseAway(_) => Code::Unavailable,
            Self::Bus(fault) => fault.code,
            Self::Database(_) | Self::Internal(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Embedder(error) => error.retry_after_ms(),
            Self::Bus(fault) => fault.retry_after_ms,
            _ => None,
        }
    }
}
