//! What can go wrong.

use muster_bus::AppendError;
use muster_contracts::{Code, Fault, HasCode};

use crate::domain::thread::Refusal;

/// An error of the agent service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The definition cannot be registered.
    #[error("{0}")]
    Definition(String),
    /// No such agent.
    #[error("agent {name:?} is not registered; registered are: {known}")]
    UnknownAgent {
        /// The agent.
        name: String,
        /// The names that are there.
        known: String,
    },
    /// No such version of an agent.
    #[error("agent {name:?} has no version {digest:?}; its versions are: {known}")]
    UnknownVersion {
        /// The agent.
        name: String,
        /// The version.
        digest: String,
        /// The digests that are there.
        known: String,
    },
    /// No such thread.
    #[error("there is no thread {0:?}")]
    UnknownThread(String),
    /// The thread does not take the message.
    #[error(transparent)]
    Thread(#[from] Refusal),
    /// The service stops; another replica goes on.
    #[error("the agent service is stopping")]
    Stopping,
    /// Another service's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A journal or a definition that cannot be read or written: a bug, or damage.
    #[error("{0}")]
    Damaged(String),
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Definition(_) => Code::Invalid,
            Self::UnknownAgent { .. } | Self::UnknownVersion { .. } | Self::UnknownThread(_) => {
                Code::NotFound
            }
            Self::Thread(refusal) => refusal.code(),
            Self::Stopping => Code::Unavailable,
            Self::Fault(fault) => fault.code,
            Self::Damaged(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => fault.retry_after_ms,
            _ => None,
        }
    }

    fn details(&self) -> serde_json::Value {
        match self {
            Self::Fault(fault) => fault.details.clone(),
            _ => serde_json::Value::Null,
        }
    }
}

impl From<AppendError> for Error {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Fault(fault) => Self::Fault(fault),
            AppendError::Conflict => {
                Self::Fault(Fault::new(Code::Unavailable, "the run's journal has moved on"))
            }
        }
    }
}
