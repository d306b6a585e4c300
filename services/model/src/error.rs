//! What can go wrong, and what kind of error it is.

use muster_bus::HeardFirst;
use muster_contracts::{Code, Fault, HasCode};

/// An error of the model service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no provider {name:?}: {known}")]
    UnknownProvider { name: String, known: String },
    #[error("no provider is configured for the model {name:?}: {known}")]
    UnknownModel { name: String, known: String },
    #[error("there is no name for models {name:?}: {hint}")]
    UnknownDefinition { name: String, hint: String },
    #[error("{provider} refuses the key with status {status}: check {setting}")]
    Denied { provider: String, status: u16, setting: String },
    #[error("{provider} has no key: {reason}")]
    NoKey { provider: String, reason: String },
    #[error("{provider} is at its rate limit: {message}")]
    Exhausted { provider: String, message: String, retry_after_ms: u64 },
    #[error("{provider} cannot answer: {message}")]
    Unavailable { provider: String, message: String, retry_after_ms: Option<u64> },
    #[error(
        "the model service asks providers as often at the same time as it may (MUSTER_MODEL_CONCURRENCY is {count}), and within {seconds} s none of these ended"
    )]
    Full { count: usize, seconds: u64 },
    /// None of several targets answers.
    #[error("no target answers: {message}")]
    NoTarget { message: String, code: Code, retry_after_ms: Option<u64> },
    #[error("no reply came within {seconds} s: {last}")]
    Deadline { seconds: u64, last: String },
    #[error("the task {0} is cancelled: its reply is not wanted any more")]
    Cancelled(String),
    #[error("whoever asked has gone: the reply is not wanted any more")]
    Abandoned,
    #[error(transparent)]
    Bus(#[from] Fault),
    #[error("internal error: {0}")]
    Internal(#[from] anyhow::Error),
}

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
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
            Self::UnknownProvider { .. } | Self::UnknownModel { .. } => Code::NotFound,
            Self::UnknownDefinition { .. } => Code::NotFound,
            Self::Denied { .. } | Self::NoKey { .. } => Code::Denied,
            Self::Deadline { .. } => Code::Deadline,
            Self::NoTarget { code, .. } => *code,
            Self::Cancelled(_) | Self::Abandoned => Code::Conflict,
            Self::Exhausted { .. } | Self::Full { .. } => Code::Exhausted,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Bus(fault) => fault.code,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Exhausted { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Unavailable { retry_after_ms, .. } => Some(retry_after_ms.unwrap_or(1_000)),
            Self::Full { .. } => Some(1_000),
            Self::NoTarget { retry_after_ms, .. } => *retry_after_ms,
            Self::Bus(fault) => fault.retry_after_ms,
            _ => None,
        }
    }

    fn details(&self) -> serde_json::Value {
        match self {
            Self::Bus(fault) => fault.details.clone(),
            Self::Cancelled(_) => HeardFirst::details(),
            _ => serde_json::Value::Null,
        }
    }
}
