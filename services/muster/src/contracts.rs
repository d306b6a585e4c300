//! The documents that are made from the contract: committed, and stale when a test says so.

mod asyncapi;
mod description;
mod events;
pub(crate) mod fields;
pub(crate) mod lint;
mod schema;

use anyhow::Result;

use self::description::Contract;

/// A generated file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    /// Where it belongs, within `docs/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The contract for tools: AsyncAPI 3.0.
pub(crate) fn asyncapi() -> Result<Vec<Document>> {
    let text = asyncapi::render(&Contract::load()?)?;
    Ok(vec![Document { path: "asyncapi.yaml".to_owned(), text }])
}

/// A JSON Schema for each message.
pub(crate) fn schemas() -> Result<Vec<Document>> {
    schema::render(&Contract::load()?)
}

/// The contract for people.
pub(crate) fn events() -> Result<Vec<Document>> {
    let text = events::render(&Contract::load()?)?;
    Ok(vec![Document { path: "events.md".to_owned(), text }])
}

#[cfg(test)]
mod tests;
