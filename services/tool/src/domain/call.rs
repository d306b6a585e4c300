//! What a tool is and what a call of it is.

use std::borrow::Cow;

use muster_bus::Repeat;
use serde_json::{Map, Value};

/// What a second call of a tool with the same arguments does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing, and it gives the same: there is nothing to record.
    Computed,
    /// Nothing; it may read something else.
    Pure,
    /// The same as one call.
    Idempotent,
    /// Something that must happen once.
    Once,
}

impl Effect {
    /// The name in the contract.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Computed | Self::Pure => "pure",
            Self::Idempotent => "idempotent",
            Self::Once => "once",
        }
    }

    /// The class with this name in the contract.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Pure, Self::Idempotent, Self::Once].into_iter().find(|effect| effect.name() == name)
    }

    /// What may be done about a call that nobody knows the end of.
    pub(crate) const fn repeat(self) -> Repeat {
        match self {
            Self::Once => Repeat::Never,
            _ => Repeat::Safe,
        }
    }
}

/// What a tool says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Definition {
    pub(crate) name: Cow<'static, str>,
    pub(crate) description: Cow<'static, str>,
    /// JSON Schema of the arguments.
    pub(crate) parameters: Value,
    pub(crate) effect: Effect,
}

/// A call with checked arguments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Map<String, Value>,
    /// Empty: a call of its own.
    pub(crate) idempotency_key: String,
    pub(crate) execution_id: String,
    pub(crate) task: String,
    /// The names of the secrets that its workflow declares.
    pub(crate) secrets: Vec<String>,
}

/// How a call went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) result: Value,
    pub(crate) duration_ms: u32,
    pub(crate) effect: &'static str,
    /// Whether it was made of the arguments alone, and a second call would be the same.
    pub(crate) is_computed: bool,
    pub(crate) replayed: bool,
}
