//! What makes vectors of texts.

mod hashing;
#[cfg(feature = "local-embeddings")]
mod local;
mod openai;

use futures::future::BoxFuture;
use muster_contracts::{Code, HasCode};

pub(crate) use hashing::Hashing;
#[cfg(feature = "local-embeddings")]
pub(crate) use local::Local;
pub(crate) use openai::{OpenAi, Settings};

/// A vector; its length is the embedder's and always the same.
pub(crate) type Embedding = Vec<f32>;

/// Makes vectors of texts, such that texts that are alike have a small angle.
pub(crate) trait Embedder: Send + Sync {
    /// What made the vectors, e.g. `hashing-256`. Vectors of different names are never compared.
    fn name(&self) -> &str;

    /// A vector for each text, in their order.
    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Vec<Embedding>, Error>>;
}

/// Why there are no vectors.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody there, or no answer in time.
    #[error("the embedding model {model:?} cannot be reached: {reason}")]
    Unreachable { model: String, reason: String },
    /// It is there and in trouble.
    #[error("the embedding model {model:?} answered HTTP {status}: {reason}")]
    Troubled { model: String, status: u16, reason: String },
    /// It asks for patience.
    #[error("the embedding model {model:?} is at its rate limit: {reason}")]
    RateLimited { model: String, reason: String, retry_after_ms: u64 },
    /// The key is wrong or may not.
    #[error(
        "the embedding model {model:?} refused the key (HTTP {status}): {reason}; check OPENAI_API_KEY"
    )]
    Refused { model: String, status: u16, reason: String },
    /// It does not take what it was sent.
    #[error(
        "the embedding model {model:?} refused the request (HTTP {status}): {reason}; check MUSTER_EMBEDDING_MODEL and OPENAI_BASE_URL"
    )]
    Rejected { model: String, status: u16, reason: String },
    /// Its answer is not the answer of an embeddings endpoint.
    #[error("the embedding model {model:?} answered something else than vectors: {reason}")]
    Nonsense { model: String, reason: String },
    /// The model of this process fails.
    #[cfg(feature = "local-embeddings")]
    #[error("the embedding model {model:?} fails: {reason}")]
    Broken { model: String, reason: String },
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } | Self::Troubled { .. } | Self::Nonsense { .. } => {
                Code::Unavailable
            }
            #[cfg(feature = "local-embeddings")]
            Self::Broken { .. } => Code::Unavailable,
            Self::RateLimited { .. } => Code::Exhausted,
            Self::Refused { .. } => Code::Denied,
            Self::Rejected { .. } => Code::Invalid,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::RateLimited { retry_after_ms, .. } => Some(*retry_after_ms),
            _ => None,
        }
    }
}
