//! What can go wrong, and what kind of error it is.

use muster_contracts::{Code, Fault, HasCode};

/// An error of the model service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Invalid(String),
    #[error("there is no provider {name:?}: {known}")]
    UnknownProvider { name: String, known: String },
    #[error("{provider} refuses the key with status {status}: check {setting}")]
    Denied { provider: &'static str, status: u16, setting: &'static str },
    #[error("{provider} is at its rate limit: {message}")]
    Exhausted { provider: &'static str, message: String, retry_after_ms: u64 },
    #[error("{provider} cannot answer: {message}")]
    Unavailable { provider: &'static str, message: String },
    #[error("the task {0} is cancelled: its reply is not wanted any more")]
    Cancelled(String),
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
            Self::UnknownProvider { .. } => Code::NotFound,
            Self::Denied { .. } => Code::Denied,
            Self::Cancelled(_) => Code::Conflict,
            Self::Exhausted { .. } => Code::Exhausted,
            Self::Unavailable { .. } => Code::Unavailable,
            Self::Bus(fault) => fault.code,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Exhausted { retry_after_ms, .. } => Some(*retry_after_ms),
            Self::Unavailable { .. } => Some(1_000),
            Self::Bus(fault) => fault.retry_after_ms,
            _ => None,
        }
    }

    fn details(&self) -> serde_json::Value {
        match self {
            Self::Bus(fault) => fault.details.clone(),
            _ => serde_json::Value::Null,
        }
    }
}
