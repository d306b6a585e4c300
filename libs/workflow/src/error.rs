//! The specification's standard error: RFC 9457 problem details with known types.

use std::fmt;

use serde::{Deserialize, Serialize};

const BASE: &str = "https://serverlessworkflow.io/spec/1.0.0/errors/";

/// An error that a task raised; what `catch` filters and what a faulted execution ends with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// A URI that names the kind of error, mostly one of [`ErrorType`].
    pub r#type: String,
    /// An HTTP-like status, 100 to 599 for the standard types.
    pub status: u16,
    /// A short summary of the kind of error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What happened this time, with the values.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// JSON pointer of the task that raised it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub instance: String,
}

impl Error {
    /// An error of a standard type, with that type's status and title.
    pub fn new(r#type: ErrorType, detail: impl Into<String>) -> Error {
        Error {
            r#type: r#type.uri(),
            status: r#type.status(),
            title: r#type.title().to_owned(),
            detail: detail.into(),
            instance: String::new(),
        }
    }

    pub(crate) fn or_instance(mut self, pointer: &str) -> Error {
        if self.instance.is_empty() {
            pointer.clone_into(&mut self.instance);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.title)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        if !self.instance.is_empty() {
            write!(f, " (at {})", self.instance)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// The standard error types of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// Something is configured wrongly; 400.
    Configuration,
    /// Data does not match its schema; 400.
    Validation,
    /// A runtime expression failed; 400.
    Expression,
    /// Credentials are missing or wrong; 401.
    Authentication,
    /// Credentials do not allow it; 403.
    Authorization,
    /// It took too long; 408.
    Timeout,
    /// A called service failed; 500.
    Communication,
    /// The runtime failed; 500.
    Runtime,
}

impl ErrorType {
    /// The type whose URI ends with this name.
    pub fn from_name(name: &str) -> Option<ErrorType> {
        let all = [
            ErrorType::Configuration,
            ErrorType::Validation,
            ErrorType::Expression,
            ErrorType::Authentication,
            ErrorType::Authorization,
            ErrorType::Timeout,
            ErrorType::Communication,
            ErrorType::Runtime,
        ];
        all.into_iter().find(|known| known.name() == name)
    }

    /// The URI that stands in an error's `type`.
    pub fn uri(self) -> String {
        format!("{BASE}{}", self.name())
    }

    /// The status that the specification gives to this type.
    pub fn status(self) -> u16 {
        match self {
            ErrorType::Configuration | ErrorType::Validation | ErrorType::Expression => 400,
            ErrorType::Authentication => 401,
            ErrorType::Authorization => 403,
            ErrorType::Timeout => 408,
            ErrorType::Communication | ErrorType::Runtime => 500,
        }
    }

    fn name(self) -> &'static str {
        match self {
            ErrorType::Configuration => "configuration",
            ErrorType::Validation => "validation",
            ErrorType::Expression => "expression",
            ErrorType::Authentication => "authentication",
            ErrorType::Authorization => "authorization",
            ErrorType::Timeout => "timeout",
            ErrorType::Communication => "communication",
            ErrorType::Runtime => "runtime",
        }
    }

    fn title(self) -> &'static str {
        match self {
            ErrorType::Configuration => "Configuration Error",
            ErrorType::Validation => "Validation Error",
            ErrorType::Expression => "Expression Error",
            ErrorType::Authentication => "Authentication Error",
            ErrorType::Authorization => "Authorization Error",
            ErrorType::Timeout => "Timeout Error",
            ErrorType::Communication => "Communication Error",
            ErrorType::Runtime => "Runtime Error",
        }
    }
}
