//! The answers of `GET /v1/models`.

use serde::Serialize;

/// Everything that a request may name as its `model`.
#[derive(Debug, Serialize)]
pub(crate) struct ModelEntries {
    pub(crate) object: &'static str,
    pub(crate) data: Vec<ModelEntry>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct ModelEntry {
    pub(crate) id: String,
    pub(crate) object: &'static str,
    /// Seconds since 1970; 0 where nobody knows.
    pub(crate) created: u64,
    /// The provider, or `muster` for aliases and agents.
    pub(crate) owned_by: String,
}

impl ModelEntry {
    pub(crate) fn new(id: impl Into<String>, owned_by: impl Into<String>) -> Self {
        Self { id: id.into(), object: "model", created: 0, owned_by: owned_by.into() }
    }
}
