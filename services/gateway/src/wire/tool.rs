//! Tools.

use muster_contracts::{JsonObject, tool::v1 as contract};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// All tools.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Tools {
    /// In the order of their names.
    pub tools: Vec<Tool>,
}

/// A tool. In a request: one that a worker serves on the bus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// `^[a-z0-9][a-z0-9_-]{0,62}$`. In a request it may be absent: the path names the tool.
    #[serde(default)]
    pub name: String,
    /// What it does, for people and for models.
    #[serde(default)]
    pub description: String,
    /// JSON Schema of its arguments, of the type `object`. Absent: any object.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub parameters: Map<String, Value>,
    /// `pure`, `idempotent` or `once`. Absent: `once`.
    #[serde(default)]
    pub effect: String,
    /// The longest call, in milliseconds, at most 600000. 0: the tool service's own limit.
    #[serde(default)]
    pub timeout_ms: u32,
    /// `built_in` or `worker`; ignored in a request.
    #[serde(default)]
    pub kind: String,
}

/// A call of a tool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// They must fit the tool's JSON Schema.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
}

/// How a call ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Called {
    /// What the tool answered: any JSON value.
    #[schema(value_type = Object)]
    pub result: Value,
    /// How long the call took.
    pub duration_ms: u32,
    /// The result is that of an earlier call with the same `Idempotency-Key`.
    pub replayed: bool,
}

impl From<contract::ToolList> for Tools {
    fn from(list: contract::ToolList) -> Self {
        Self { tools: list.tools.into_iter().map(Tool::from).collect() }
    }
}

impl From<contract::ToolDefinition> for Tool {
    fn from(definition: contract::ToolDefinition) -> Self {
        Self {
            name: definition.name,
            description: definition.description,
            parameters: definition.parameters.unwrap_or_default().0,
            effect: definition.effect,
            timeout_ms: definition.timeout_ms,
            kind: definition.kind,
        }
    }
}

impl From<Tool> for contract::RegisterToolRequest {
    fn from(tool: Tool) -> Self {
        Self {
            name: tool.name,
            description: tool.description,
            parameters: Some(JsonObject(tool.parameters)),
            effect: tool.effect,
            timeout_ms: tool.timeout_ms,
        }
    }
}

impl From<contract::ToolResult> for Called {
    fn from(result: contract::ToolResult) -> Self {
        Self {
            result: result.result.unwrap_or_default().0,
            duration_ms: result.duration_ms,
            replayed: result.replayed,
        }
    }
}
