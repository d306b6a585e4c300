//! What can go wrong.

use muster_contracts::{Code, Fault, HasCode};

use crate::domain::Flaw;

/// An error of the knowledge service.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A definition, or what is asked of it, is wrong.
    #[error(transparent)]
    Flawed(#[from] Flaw),
    /// No such template.
    #[error("there is no template {name:?}; there are: {known}")]
    UnknownTemplate { name: String, known: String },
    /// No such version of a template.
    #[error("the template {name:?} has no version {version:?}; its versions are: {known}")]
    UnknownVersion { name: String, version: String, known: String },
    /// A built-in template is a part of the program.
    #[error(
        "the template {0:?} is built in and cannot be removed; register one with its name to use another text"
    )]
    BuiltIn(String),
    /// Another service's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A bug, or damage.
    #[error(transparent)]
    Internal(#[from] anyhow::Error),
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Flawed(_) => Code::Invalid,
            Self::UnknownTemplate { .. } | Self::UnknownVersion { .. } => Code::NotFound,
            Self::BuiltIn(_) => Code::Conflict,
            Self::Fault(fault) => fault.code,
            Self::Internal(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => fault.retry_after_ms,
            _ => None,
        }
    }
}
