//! Agents.

use muster_contracts::{JsonObject, agent::v1 as contract};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::AgentDeliverable;

/// An agent, as its file describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// `^[a-z0-9][a-z0-9_-]{0,62}$`. In a request it may be absent: the path names the agent.
    #[serde(default)]
    pub name: String,
    /// What it is good for, in a sentence.
    #[serde(default)]
    pub description: String,
    /// What the model is told.
    pub instructions: String,
    /// Its model.
    #[serde(default)]
    pub model: Model,
    /// Names of tools that it may call.
    #[serde(default)]
    pub tools: Vec<String>,
    /// When a run must end.
    #[serde(default)]
    pub limits: Limits,
    /// JSON Schema of the structured part of its answer. Without one the answer is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub output_schema: Option<Map<String, Value>>,
    /// What the `offline` provider does when it plays this agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub offline: Option<Map<String, Value>>,
    /// Where its answers are stored; absent: each at `deliverables/{agent}/report/{run}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliverable: Option<AgentDeliverable>,
    /// SHA-256 of the definition, hexadecimal; made at registration and ignored in a request.
    #[serde(default)]
    pub digest: String,
}

/// The model of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// `openai`, `offline`, or empty: `openai` where it is configured, else `offline`.
    #[serde(default)]
    pub provider: String,
    /// The provider's name of the model; empty: the provider's default.
    #[serde(default)]
    pub name: String,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The longest answer, in tokens; 0: the provider's limit.
    #[serde(default)]
    pub max_tokens: u32,
}

/// When a run must end. 0 is the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Turns of the model; default 16, at most 100.
    #[serde(default)]
    pub turns: u32,
    /// Tokens in and out together; default 200000.
    #[serde(default)]
    pub tokens: u32,
    /// Wall time in seconds; default 600, at most 86400.
    #[serde(default)]
    pub seconds: u32,
    /// Money in US dollars by the price table; 0: no limit of the agent's own.
    #[serde(default)]
    pub cost_usd: f64,
}

/// All agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agents {
    /// In the order of their names.
    pub agents: Vec<Agent>,
}

impl From<Agent> for contract::AgentDefinition {
    fn from(agent: Agent) -> Self {
        Self {
            name: agent.name,
            description: agent.description,
            instructions: agent.instructions,
            model: Some(contract::ModelChoice {
                provider: agent.model.provider,
                name: agent.model.name,
                temperature: agent.model.temperature,
                max_tokens: agent.model.max_tokens,
            }),
            tools: agent.tools,
            limits: Some(contract::Limits {
                turns: agent.limits.turns,
                tokens: agent.limits.tokens,
                seconds: agent.limits.seconds,
                cost_usd: agent.limits.cost_usd,
            }),
            output_schema: agent.output_schema.map(JsonObject),
            offline: agent.offline.map(JsonObject),
            deliverable: agent.deliverable.map(Into::into),
            ..Self::default()
        }
    }
}

impl From<contract::AgentDefinition> for Agent {
    fn from(definition: contract::AgentDefinition) -> Self {
        let model = definition.model.unwrap_or_default();
        let limits = definition.limits.unwrap_or_default();
        Self {
            name: definition.name,
            description: definition.description,
            instructions: definition.instructions,
            model: Model {
                provider: model.provider,
                name: model.name,
                temperature: model.temperature,
                max_tokens: model.max_tokens,
            },
            tools: definition.tools,
            limits: Limits {
                turns: limits.turns,
                tokens: limits.tokens,
                seconds: limits.seconds,
                cost_usd: limits.cost_usd,
            },
            output_schema: definition.output_schema.map(|schema| schema.0),
            offline: definition.offline.map(|script| script.0),
            deliverable: definition.deliverable.map(Into::into),
            digest: definition.digest,
        }
    }
}
