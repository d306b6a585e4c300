//! Tools.

use muster_contracts::tool::v1::{ToolDefinition, ToolList};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// All tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tools {
    /// In the order of their names.
    pub tools: Vec<Tool>,
}

/// A tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tool {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// `pure`, `idempotent` or `once`.
    pub effect: String,
    /// The longest call, in milliseconds.
    pub timeout_ms: u32,
}

impl From<ToolList> for Tools {
    fn from(list: ToolList) -> Self {
        Self { tools: list.tools.into_iter().map(Tool::from).collect() }
    }
}

impl From<ToolDefinition> for Tool {
    fn from(definition: ToolDefinition) -> Self {
        Self {
            name: definition.name,
            description: definition.description,
            parameters: definition.parameters.unwrap_or_default().0,
            effect: definition.effect,
            timeout_ms: definition.timeout_ms,
        }
    }
}
