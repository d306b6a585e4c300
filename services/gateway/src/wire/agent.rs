//! Agents.

use std::fmt;

use chrono::{DateTime, Utc};
use muster_contracts::{JsonObject, agent::v1 as contract};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{AgentApproval, AgentDeliverable, AgentTeam, when};

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
    /// The instructions are a Jinja template over the run's `input` and the `agent`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub template: bool,
    /// Words to find it by, at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Its model: this, or only its name.
    #[serde(default, deserialize_with = "model")]
    pub model: Model,
    /// Names of tools that it may call.
    #[serde(default)]
    pub tools: Vec<String>,
    /// When a run must end.
    #[serde(default)]
    pub limits: Limits,
    /// Tools to remember, recall and forget; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
    /// What happens when the conversation outgrows the model's window; absent: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<Context>,
    /// `tell` (absent): the model hears that a tool failed; `fail`: the run fails with it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_tool_error: String,
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
    /// Which calls somebody must approve; absent: those of tools whose registration says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<AgentApproval>,
    /// The agents that it works with; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<AgentTeam>,
    /// `model` (absent), or `worker`: a program on the bus is the agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Of a worker: how long a task may take; 0: 600000.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub timeout_ms: u32,
    /// SHA-256 of the definition, hexadecimal; made at registration and ignored in a request.
    #[serde(default)]
    pub digest: String,
    /// When this version was registered first; ignored in a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// What an agent remembers from run to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// `agent` (absent): what this agent remembers; `tenant`: what all agents with this scope remember.
    #[serde(default)]
    pub scope: String,
    /// How long something is remembered, in seconds; 0: until it is forgotten.
    #[serde(default)]
    pub ttl_seconds: u64,
    /// The most that is remembered, 1 to 1000; the oldest goes first. 0: 100.
    #[serde(default)]
    pub max_items: u32,
}

/// A conversation that outgrows the model's window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// What a question may have, in tokens by the o200k tokenizer, at least 256; 0: no limit.
    #[serde(default)]
    pub max_tokens: u32,
    /// `cut` (absent): the oldest turns go; `summarise`: the model makes a summary of them; `fail`: the run fails.
    #[serde(default)]
    pub policy: String,
}

/// The versions of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentVersions {
    /// The agent.
    pub name: String,
    /// The newest first.
    pub versions: Vec<AgentVersion>,
}

/// A version of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentVersion {
    /// SHA-256 of the definition, hexadecimal.
    pub digest: String,
    /// When it was registered first.
    pub registered_at: Option<DateTime<Utc>>,
    /// New runs are on this version.
    pub latest: bool,
}

/// The model of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// The name of a configured provider, or empty: the default, which takes aliases as names.
    #[serde(default)]
    pub provider: String,
    /// An alias, or the provider's name of the model; empty: the default.
    #[serde(default)]
    pub name: String,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// The longest answer, in tokens; 0: the provider's limit.
    #[serde(default)]
    pub max_tokens: u32,
}

/// When a run must end. 0 in a definition is the default; what is answered says which.
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

impl Limits {
    /// What 0 stands for, as the contract says of each.
    const DEFAULT: Self = Self { turns: 16, tokens: 200_000, seconds: 600, cost_usd: 0.0 };

    fn with_defaults(self) -> Self {
        let or = |number: u32, default: u32| if number == 0 { default } else { number };
        Self {
            turns: or(self.turns, Self::DEFAULT.turns),
            tokens: or(self.tokens, Self::DEFAULT.tokens),
            seconds: or(self.seconds, Self::DEFAULT.seconds),
            cost_usd: self.cost_usd,
        }
    }

    /// The same with 0 for what is a default, said or not: two definitions that mean the same are equal.
    #[must_use]
    pub fn without_defaults(self) -> Self {
        let or = |number: u32, default: u32| if number == default { 0 } else { number };
        Self {
            turns: or(self.turns, Self::DEFAULT.turns),
            tokens: or(self.tokens, Self::DEFAULT.tokens),
            seconds: or(self.seconds, Self::DEFAULT.seconds),
            cost_usd: self.cost_usd,
        }
    }
}

/// All agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Agents {
    /// In the order of their names.
    pub agents: Vec<Agent>,
}

/// A model by its name alone, or with all that can be said of it.
fn model<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Model, D::Error> {
    deserializer.deserialize_any(ModelVisitor)
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = Model;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a model, or {provider, name, temperature, max_tokens}")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Model, E> {
        Ok(Model { name: name.to_owned(), ..Model::default() })
    }

    fn visit_unit<E: de::Error>(self) -> Result<Model, E> {
        Ok(Model::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Model, A::Error> {
        Model::deserialize(MapAccessDeserializer::new(map))
    }
}

impl From<contract::AgentVersions> for AgentVersions {
    fn from(versions: contract::AgentVersions) -> Self {
        let shown = versions.versions.into_iter().map(|version| AgentVersion {
            digest: version.digest,
            registered_at: when(version.registered_at.as_ref()),
            latest: version.latest,
        });
        Self { name: versions.name, versions: shown.collect() }
    }
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
            template: agent.template,
            tags: agent.tags,
            memory: agent.memory.map(|memory| contract::MemorySettings {
                scope: memory.scope,
                ttl_seconds: memory.ttl_seconds,
                max_items: memory.max_items,
            }),
            context: agent.context.map(|context| contract::ContextSettings {
                max_tokens: context.max_tokens,
                policy: context.policy,
            }),
            on_tool_error: agent.on_tool_error,
            approval: agent.approval.map(Into::into),
            team: agent.team.map(Into::into),
            kind: agent.kind,
            timeout_ms: agent.timeout_ms,
            ..Self::default()
        }
    }
}

impl From<contract::AgentDefinition> for Agent {
    fn from(definition: contract::AgentDefinition) -> Self {
        let model = definition.model.unwrap_or_default();
        let limits = definition.limits.unwrap_or_default();
        Self {
            template: definition.template,
            tags: definition.tags,
            memory: definition.memory.map(|memory| Memory {
                scope: memory.scope,
                ttl_seconds: memory.ttl_seconds,
                max_items: memory.max_items,
            }),
            context: definition
                .context
                .map(|context| Context { max_tokens: context.max_tokens, policy: context.policy }),
            on_tool_error: definition.on_tool_error,
            registered_at: when(definition.registered_at.as_ref()),
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
            }
            .with_defaults(),
            output_schema: definition.output_schema.map(|schema| schema.0),
            offline: definition.offline.map(|script| script.0),
            deliverable: definition.deliverable.map(Into::into),
            approval: definition.approval.map(Into::into),
            team: definition.team.map(Into::into),
            kind: definition.kind,
            timeout_ms: definition.timeout_ms,
            digest: definition.digest,
        }
    }
}
