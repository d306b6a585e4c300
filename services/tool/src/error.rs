//! What can go wrong, and what kind of error it is.

use std::time::Duration;

use muster_contracts::{Code, Fault, HasCode};

use crate::calls;

/// What is known about another try of a request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Again {
    /// Nothing but the status.
    Unknown,
    /// The server cannot have had the request.
    Unsent,
    /// The server said after how many milliseconds to come again.
    After(u64),
}

/// An error of the tool service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Denied(String),
    /// What is asked cannot do it now; it may have said when it can.
    #[error("{text}")]
    Unavailable { text: String, retry_after_ms: Option<u64> },
    #[error("no worker answers tools.{0}: start it")]
    Unserved(String),
    #[error("{0}")]
    Conflict(String),
    /// The effect may have happened.
    #[error("interrupted: {0}; not repeated because its effect class is once")]
    Interrupted(String),
    #[error(
        "the task is cancelled, so that the tool {0} was stopped: nobody knows how far it came"
    )]
    Cancelled(String),
    /// What a call of the workflow language raises: a standard type, by its name, and a status.
    #[error("{detail}")]
    Raised { kind: &'static str, status: u16, detail: String, again: Again },
    #[error("the tool {tool} did not answer within {} ms", limit.as_millis())]
    Deadline { tool: String, limit: Duration },
    /// Nothing has happened: the call may come again.
    #[error("{text}")]
    Exhausted { text: String, retry_after_ms: u64 },
    #[error(transparent)]
    Bus(#[from] Fault),
    #[error("internal error: {0}")]
    Internal(#[from] anyhow::Error),
}

impl Error {
    /// Nobody can say when it is there again.
    pub(crate) fn unavailable(text: impl Into<String>) -> Self {
        Self::Unavailable { text: text.into(), retry_after_ms: None }
    }

    /// The same as it crosses the bus.
    pub(crate) fn fault(&self) -> Fault {
        let fault = Fault::new(self.code(), self.to_string()).with_details(self.details());
        match self.retry_after_ms() {
            Some(wait) => fault.with_retry_after_ms(wait),
            None => fault,
        }
    }
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::Invalid,
            Self::NotFound(_) => Code::NotFound,
            Self::Denied(_) => Code::Denied,
            Self::Unavailable { .. } | Self::Unserved(_) => Code::Unavailable,
            Self::Conflict(_) | Self::Interrupted(_) | Self::Cancelled(_) => Code::Conflict,
            Self::Raised { kind: "authentication", .. } => Code::Unauthenticated,
            Self::Raised { kind: "configuration", .. } => Code::NotFound,
            Self::Raised { kind: "validation", .. } => Code::Invalid,
            // Not a code that is tried again: the server has answered, and the workflow decides.
            Self::Raised { .. } => Code::Conflict,
            Self::Deadline { .. } => Code::Deadline,
            Self::Exhausted { .. } => Code::Exhausted,
            Self::Bus(fault) => fault.code,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Bus(fault) => fault.retry_after_ms,
            Self::Exhausted { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Unavailable { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
    }

    fn details(&self) -> serde_json::Value {
        match self {
            Self::Interrupted(_) => serde_json::json!({ "interrupted": true }),
            Self::Cancelled(_) => serde_json::json!({ "cancelled": true }),
            Self::Raised { kind, status, detail, .. } => {
                serde_json::json!({ "problem": calls::problem(kind, *status, detail) })
            }
            Self::Unserved(_) => serde_json::json!({ "unserved": true }),
            Self::Bus(fault) => fault.details.clone(),
            _ => serde_json::Value::Null,
        }
    }
}
