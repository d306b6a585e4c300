//! Templates: what they may be, and what they give. Nothing here waits for anything.

pub(crate) mod built_in;
pub(crate) mod definition;
mod places;
pub(crate) mod render;
pub(crate) mod stage;
mod variables;

/// Why a definition, or what is asked of it, is wrong: with the value, and what would be right.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Flaw(pub(crate) String);

impl Flaw {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// The start of a text from outside, for an error.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}
