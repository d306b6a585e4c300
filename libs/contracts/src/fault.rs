//! The one closed set of error codes, and the fault that carries one over the bus.

use serde::{Deserialize, Serialize};

/// What kind of error it is. Decides the HTTP status and what happens to a durable message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// The input is wrong and will stay wrong.
    Invalid,
    /// What it names is not there.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Nobody knows who asks.
    Unauthenticated,
    /// Who asks may not.
    Denied,
    /// A limit is reached; later it may work.
    Exhausted,
    /// Something that is needed cannot be reached; later it may work.
    Unavailable,
    /// It took too long.
    Deadline,
    /// A bug, or something that nobody foresaw.
    Internal,
}

/// What the bus does with a durable message whose handler failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnEvent {
    /// Gives it up at once: a second try would fail as the first.
    DeadLetter,
    /// Tries again when the fault says so.
    RetryAfter,
    /// Tries again, each time later, and gives up after the last try.
    Backoff,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 9] = [
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Unauthenticated,
        Self::Denied,
        Self::Exhausted,
        Self::Unavailable,
        Self::Deadline,
        Self::Internal,
    ];

    /// The code's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "INVALID",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::Unauthenticated => "UNAUTHENTICATED",
            Self::Denied => "DENIED",
            Self::Exhausted => "EXHAUSTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Deadline => "DEADLINE",
            Self::Internal => "INTERNAL",
        }
    }

    /// The code with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.name() == name)
    }

    /// The HTTP status that tells it.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Denied => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::Exhausted => 429,
            Self::Internal => 500,
            Self::Unavailable => 503,
            Self::Deadline => 504,
        }
    }

    /// What the bus does with a durable message.
    #[must_use]
    pub const fn on_event(self) -> OnEvent {
        match self {
            Self::Invalid
            | Self::NotFound
            | Self::Conflict
            | Self::Unauthenticated
            | Self::Denied => OnEvent::DeadLetter,
            Self::Exhausted => OnEvent::RetryAfter,
            Self::Unavailable | Self::Deadline | Self::Internal => OnEvent::Backoff,
        }
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// An error that crosses the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind of error it is.
    pub code: Code,
    /// What was wrong, with the value, and what would be right.
    pub message: String,
    /// When a new try makes sense, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// More for programs.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub details: serde_json::Value,
}

impl Fault {
    /// A fault with this code and message.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
            details: serde_json::Value::Null,
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(self, details: serde_json::Value) -> Self {
        Self { details, ..self }
    }

    /// The same with the time after which a new try makes sense.
    #[must_use]
    pub fn with_retry_after_ms(self, retry_after_ms: u64) -> Self {
        Self { retry_after_ms: Some(retry_after_ms), ..self }
    }
}

/// An error of a service that knows its code. Its text goes outside, except for `Internal`.
pub trait HasCode: std::error::Error + Send + Sync + 'static {
    /// What kind of error it is.
    fn code(&self) -> Code;

    /// When a new try makes sense, in milliseconds.
    fn retry_after_ms(&self) -> Option<u64> {
        None
    }

    /// More for programs; null is nothing.
    fn details(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

impl HasCode for Fault {
    fn code(&self) -> Code {
        self.code
    }
    fn retry_after_ms(&self) -> Option<u64> {
        self.retry_after_ms
    }
    fn details(&self) -> serde_json::Value {
        self.details.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status_and_its_fate() {
        let table: Vec<String> = Code::ALL
            .iter()
            .map(|code| format!("{code} {} {:?}", code.http_status(), code.on_event()))
            .collect();
        insta::assert_snapshot!(table.join("\n"), @r"
        INVALID 400 DeadLetter
        NOT_FOUND 404 DeadLetter
        CONFLICT 409 DeadLetter
        UNAUTHENTICATED 401 DeadLetter
        DENIED 403 DeadLetter
        EXHAUSTED 429 RetryAfter
        UNAVAILABLE 503 Backoff
        DEADLINE 504 Backoff
        INTERNAL 500 Backoff
        ");
        assert!(Code::ALL.iter().all(|code| Code::from_name(code.name()) == Some(*code)));
    }
}
