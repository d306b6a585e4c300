//! What agents tell each other, and what they are told.

use chrono::{DateTime, Utc};
use muster_contracts::agent::v1 as contract;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{some, when};

/// The agents that an agent works with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentTeam {
    /// It may hand over to these (`handoff_to_NAME`): its turn ends, and the other goes on with the conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub handoff: Vec<String>,
    /// It may ask these (`ask_NAME`): each answers in a run of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// It has an inbox (`read_inbox`) and may write to others (`send_message`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inbox: bool,
}

/// How an agent is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentStatus {
    /// The agent.
    pub agent_id: String,
    /// `idle`, `running` or `error`.
    pub status: String,
    /// When it said so; absent: it never did.
    pub timestamp: Option<DateTime<Utc>>,
    /// Nobody answered for it now: it is the last that is known.
    pub stale: bool,
}

/// A message to an agent, or to all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgentMessage {
    /// Who sends it: a name as an agent has it.
    pub from_agent: String,
    /// What it says.
    pub content: String,
    /// What kind of message it is, as you agree.
    #[serde(default)]
    pub message_type: String,
}

/// A message that is on its way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AcceptedMessage {
    /// Its id.
    pub id: String,
}

/// A task for an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgentTask {
    /// What kind of task it is, as you agree; absent: `task`.
    #[serde(default)]
    pub r#type: String,
    /// What the agent needs for it. `input` alone: exactly what it is asked.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub params: Map<String, Value>,
}

/// A task of an agent, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentTask {
    /// Its id.
    pub task_id: String,
    /// The agent.
    pub agent_id: String,
    /// `running`, `completed` or `failed`.
    pub status: String,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Object)]
    pub result: Value,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When that was.
    pub timestamp: Option<DateTime<Utc>>,
}

impl From<contract::AgentStatus> for AgentStatus {
    fn from(status: contract::AgentStatus) -> Self {
        Self {
            agent_id: status.agent_id,
            status: status.status,
            timestamp: when(status.timestamp.as_ref()),
            stale: status.stale,
        }
    }
}

impl From<contract::AgentTask> for AgentTask {
    fn from(task: contract::AgentTask) -> Self {
        Self {
            task_id: task.task_id,
            agent_id: task.agent_id,
            status: task.status,
            result: task.result.unwrap_or_default().0,
            error: some(task.error),
            timestamp: when(task.timestamp.as_ref()),
        }
    }
}

impl From<AgentTeam> for contract::TeamSettings {
    fn from(team: AgentTeam) -> Self {
        Self { handoff: team.handoff, agents: team.agents, inbox: team.inbox }
    }
}

impl From<contract::TeamSettings> for AgentTeam {
    fn from(team: contract::TeamSettings) -> Self {
        Self { handoff: team.handoff, agents: team.agents, inbox: team.inbox }
    }
}
