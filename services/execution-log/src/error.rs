//! The service's errors.

use std::time::Duration;

use muster_contracts::{Code, Fault, HasCode};
use muster_runtime::database::{has_class, is_away};

use crate::domain::MAX_PAGE;

/// Why a request was not answered or an event not recorded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Too large a page.
    #[error("`limit` is {0}, but it is 1 to {MAX_PAGE}, or 0 for {MAX_PAGE}")]
    Limit(u32),
    /// A question that makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// Nothing is recorded of it.
    #[error(
        "no event of an execution {0:?} is recorded: there is none, or it began just now and its first event is on the way"
    )]
    UnknownExecution(String),
    /// Postgres is gone, going or overloaded.
    #[error("Postgres is not available: {0}")]
    DatabaseAway(sqlx::Error),
    /// Postgres does not answer.
    #[error("a statement was not done within {} s", .0.as_secs())]
    Slow(Duration),
    /// Postgres can never take these values.
    #[error("the event cannot be stored: {0}")]
    Unstorable(sqlx::Error),
    /// Postgres refused a statement.
    #[error("a statement failed")]
    Database(#[source] sqlx::Error),
    /// The broker refused.
    #[error(transparent)]
    Bus(#[from] Fault),
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) {
            Self::DatabaseAway(error)
        // A value that is none (class 22), or too long for an index (54).
        } else if has_class(&error, "22") || has_class(&error, "54") {
            Self::Unstorable(error)
        } else {
            Self::Database(error)
        }
    }
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Limit(_) | Self::Invalid(_) | Self::Unstorable(_) => Code::Invalid,
            Self::UnknownExecution(_) => Code::NotFound,
            Self::DatabaseAway(_) | Self::Slow(_) => Code::Unavailable,
            Self::Bus(fault) => fault.code,
            Self::Database(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Bus(fault) => fault.retry_after_ms,
            _ => None,
        }
    }
}
