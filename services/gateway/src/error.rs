//! What can go wrong with a request from outside.

use muster_contracts::{Code, Fault, SubjectError};

use crate::domain::{idempotency::KeyError, position::PositionError};
use crate::wire::openai::Refusal;

/// An error that a client is told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A service or the bus said no.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A value in the request is wrong.
    #[error("{0}")]
    Invalid(String),
    /// The body cannot be read as what its content type says.
    #[error("the body is not valid {format}: {reason}")]
    Malformed { format: &'static str, reason: String },
    /// The body's type is none that this route reads.
    #[error("the content type is {got}, but this route reads {accepted}")]
    MediaType { got: String, accepted: String },
    /// The body is larger than the route's limit.
    #[error("the body has {size} bytes, but the limit is {limit} bytes ({} MiB)", limit >> 20)]
    TooLarge { size: Size, limit: usize },
    /// The body did not arrive in time.
    #[error("the body did not arrive within {0} s")]
    SlowBody(u64),
    /// The idempotency key was used before, with another request.
    #[error(
        "the Idempotency-Key {0:?} belongs to another request; repeat that one unchanged or use a new key"
    )]
    KeyReused(String),
    /// As many clients follow executions as may.
    #[error("{0} live streams are open, which is the limit; close one or try again later")]
    TooManyStreams(usize),
    /// A parameter of a request in OpenAI's format is wrong.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// Nobody knows who asks, in OpenAI's format.
    #[error("{}", .0.message)]
    Unauthenticated(Refusal),
    /// A bug, or something that nobody foresaw.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

/// How large a body is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Size {
    /// As its Content-Length says.
    Known(u64),
    /// Reading stopped behind this many bytes.
    MoreThan(usize),
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Known(size) => write!(f, "{size}"),
            Self::MoreThan(size) => write!(f, "more than {size}"),
        }
    }
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// The HTTP status that tells it.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::MediaType { .. } => 415,
            Self::TooLarge { .. } => 413,
            Self::SlowBody(_) => 408,
            Self::KeyReused(_) => 422,
            other => other.code().http_status(),
        }
    }

    /// The code of the closed set that fits best.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Fault(fault) => fault.code,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Invalid(_)
            | Self::Refused(_)
            | Self::Malformed { .. }
            | Self::MediaType { .. }
            | Self::TooLarge { .. } => Code::Invalid,
            Self::SlowBody(_) => Code::Deadline,
            Self::KeyReused(_) => Code::Conflict,
            Self::TooManyStreams(_) => Code::Exhausted,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// When a new try makes sense, in whole seconds.
    pub(crate) fn retry_after_s(&self) -> Option<u64> {
        match self {
            // What is used up for good, as a budget is, does not say when: who asked again would ask for ever.
            Self::Fault(fault) => fault
                .retry_after_ms
                .map(|ms| ms.div_ceil(1000).max(1))
                .or_else(|| (fault.code == Code::Unavailable).then_some(1)),
            Self::TooManyStreams(_) => Some(1),
            _ => None,
        }
    }
}

impl From<SubjectError> for Error {
    fn from(error: SubjectError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<PositionError> for Error {
    fn from(error: PositionError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Invalid(error.to_string())
    }
}
