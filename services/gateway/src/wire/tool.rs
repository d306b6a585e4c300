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

/// A tool: one that a worker serves on the bus, a request, operations of a document, the tools of an MCP server, or a module in a sandbox.
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
    /// `worker`, `http`, `openapi`, `mcp` or `wasm`; absent in a request: `worker`. Those of the service itself are `built_in`.
    #[serde(default)]
    pub kind: String,
    /// What the kind needs: request, document, server or module; `worker` needs nothing.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub with: Map<String, Value>,
    /// Calls at the same time in each process of the tool service, at most 4096; more are refused. 0: the tool service's own limit; more wait.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub max_concurrency: u32,
    /// How many calls may begin within a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<ToolRate>,
    /// The names of the secrets that `with` may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// An agent's call waits for somebody's approval, unless the agent's definition says otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approval: bool,
    /// Grows with each registration of the name; ignored in a request.
    #[serde(default, skip_serializing_if = "is_zero_long")]
    pub revision: u64,
    /// The MCP server or OpenAPI document that the tool is one of; ignored in a request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub source: String,
    /// Of an MCP server or OpenAPI document: why its tools are not there now; ignored in a request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// Of an MCP server: the revision of the protocol that is spoken with it now; ignored in a request.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// How many calls of a tool may begin within a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolRate {
    /// 1 to 1000000.
    pub calls: u32,
    /// 1 to 86400.
    pub per_seconds: u32,
}

const fn is_zero(number: &u32) -> bool {
    *number == 0
}

const fn is_zero_long(number: &u64) -> bool {
    *number == 0
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
            with: definition.with.unwrap_or_default().0,
            max_concurrency: definition.max_concurrency,
            rate: definition
                .rate
                .map(|rate| ToolRate { calls: rate.calls, per_seconds: rate.per_seconds }),
            secrets: definition.secrets,
            approval: definition.approval,
            revision: definition.revision,
            source: definition.source,
            problem: definition.problem,
            protocol: definition.protocol,
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
            kind: tool.kind,
            with: (!tool.with.is_empty()).then_some(JsonObject(tool.with)),
            max_concurrency: tool.max_concurrency,
            rate: tool.rate.map(|rate| contract::ToolRate {
                calls: rate.calls,
                per_seconds: rate.per_seconds,
            }),
            secrets: tool.secrets,
            approval: tool.approval,
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
