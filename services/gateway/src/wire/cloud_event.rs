//! Events from outside, and signals.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// The answer to events: those that were stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedEvents {
    /// In the order in which they came.
    pub events: Vec<PublishedEvent>,
}

/// An event that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PublishedEvent {
    /// Its id.
    pub id: String,
    /// Where it comes from.
    pub source: String,
    /// Its type.
    pub r#type: String,
    /// It was there already.
    pub duplicate: bool,
}

/// An event for one execution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// What the execution listens for: the type of the event that its tasks see.
    pub signal: String,
    /// The data of that event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
}

/// The answer to a signal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Signalled {
    /// The execution.
    pub execution_id: String,
    /// What it was told.
    pub signal: String,
    /// The id of the event that its tasks see.
    pub id: String,
}
