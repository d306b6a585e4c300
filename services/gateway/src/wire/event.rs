//! What happened in an execution, what it used, and what it produced.

use chrono::{DateTime, Utc};
use muster_contracts::{agent::v1 as agent, log::v1 as log};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{some, when};

const NANOS_PER_DOLLAR: f64 = 1e9;

/// Recorded events of an execution, in their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
    /// What to ask for as `after` to get more; absent: there is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// A recorded event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id in the log.
    pub log_id: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// What it is, e.g. `muster.agent.v1.AgentExecutionCompleted`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it travelled.
    pub subject: String,
    /// Who sent it.
    pub source: String,
    /// The task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// The agent that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// When it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// The event itself.
    pub body: Value,
}

/// What an execution used, in all and by agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExecutionUsage {
    /// The execution.
    pub execution_id: String,
    /// Of all agents together.
    pub total: Usage,
    /// Of each agent.
    pub agents: Vec<AgentUsage>,
    /// From the first to the last event, in milliseconds.
    pub duration_ms: u32,
    /// How many events were recorded.
    pub events: u32,
}

/// What the runs of one agent used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AgentUsage {
    /// The agent's name.
    pub agent: String,
    /// How often it ran.
    pub runs: u32,
    /// What its runs used together.
    pub usage: Usage,
}

/// Tokens and calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Tokens that models read.
    pub input_tokens: u32,
    /// Tokens that models wrote.
    pub output_tokens: u32,
    /// What pasting the full deliverables would have cost, less what their notices cost.
    pub saved_tokens: u32,
    /// What pasting the full deliverables would have cost.
    pub pasted_tokens: u32,
    /// What was fetched of deliverables on demand.
    pub fetched_tokens: u32,
    /// Calls of models.
    pub model_calls: u32,
    /// Calls of tools.
    pub tool_calls: u32,
    /// The part of `output_tokens` that models thought with.
    pub reasoning_tokens: u32,
    /// What the calls of models cost by the price table, in US dollars.
    pub cost_usd: f64,
}

impl From<log::Timeline> for Events {
    fn from(timeline: log::Timeline) -> Self {
        Self {
            events: timeline.entries.into_iter().map(Event::from).collect(),
            next_after: Some(timeline.next_after).filter(|after| *after > 0),
        }
    }
}

impl From<log::LogEntry> for Event {
    fn from(entry: log::LogEntry) -> Self {
        Self {
            log_id: entry.log_id,
            sequence: entry.sequence,
            kind: entry.r#type,
            subject: entry.subject,
            source: entry.source,
            task: some(entry.task),
            agent: some(entry.agent),
            at: when(entry.at.as_ref()),
            body: entry.body.unwrap_or_default().0,
        }
    }
}

impl From<log::ExecutionUsage> for ExecutionUsage {
    fn from(usage: log::ExecutionUsage) -> Self {
        Self {
            execution_id: usage.execution_id,
            total: usage.total.unwrap_or_default().into(),
            agents: usage.agents.into_iter().map(AgentUsage::from).collect(),
            duration_ms: usage.duration_ms,
            events: usage.events,
        }
    }
}

impl From<log::AgentUsage> for AgentUsage {
    fn from(usage: log::AgentUsage) -> Self {
        Self { agent: usage.agent, runs: usage.runs, usage: usage.usage.unwrap_or_default().into() }
    }
}

impl From<agent::Usage> for Usage {
    fn from(usage: agent::Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            saved_tokens: usage.saved_tokens,
            pasted_tokens: usage.pasted_tokens,
            fetched_tokens: usage.fetched_tokens,
            model_calls: usage.model_calls,
            tool_calls: usage.tool_calls,
            reasoning_tokens: usage.reasoning_tokens,
            cost_usd: usage.cost_nanos as f64 / NANOS_PER_DOLLAR,
        }
    }
}
