//! Calls of agents that wait for somebody's approval.

use chrono::{DateTime, Utc};
use muster_contracts::{JsonObject, agent::v1 as contract};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{some, when};

/// Which calls of an agent somebody must approve.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentApproval {
    /// `always` or `never` by the tool's name, `*` for all others. A tool that is not named is asked for as its registration says.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub tools: Map<String, Value>,
    /// How long somebody may take, 1 to 2592000; 0: for ever.
    #[serde(default)]
    pub timeout_seconds: u32,
    /// What happens then: `reject` (absent), `approve`, `fail` or `escalate`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub on_timeout: String,
    /// Who may decide after an escalation, within `timeout_seconds` again; then it is rejected.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub escalate_to: Vec<String>,
    /// Who may decide; empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
}

/// A call that waits for somebody's approval, or did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approval {
    /// Its id.
    pub approval_id: String,
    /// The execution that stands still.
    pub execution_id: String,
    /// Its task.
    pub task: String,
    /// The agent that wants to make the call.
    pub agent: String,
    /// The tool that is to be called.
    pub tool: String,
    /// With what.
    #[schema(value_type = Object)]
    pub arguments: Map<String, Value>,
    /// `pending`, `approved`, `rejected`, or `cancelled` where the run ended before.
    pub status: String,
    /// Who may decide; empty: anybody.
    pub approvers: Vec<String>,
    /// When the agent asked.
    pub requested_at: Option<DateTime<Utc>>,
    /// When the time is over; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// What happens then.
    pub on_timeout: String,
    /// Nobody decided the first time: now others may.
    pub escalated: bool,
    /// The arguments that the call was made with instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub decided_arguments: Option<Map<String, Value>>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who decided; `timeout` where nobody did in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<DateTime<Utc>>,
    /// Whose execution it is; absent: the platform's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
}

/// Approvals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Approvals {
    /// The newest first.
    pub approvals: Vec<Approval>,
}

/// What somebody decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// `approve` or `reject`.
    pub decision: String,
    /// Arguments instead of those that the agent wants; they must fit the tool's schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub arguments: Option<Map<String, Value>>,
    /// Why; the agent reads it where the call is rejected.
    #[serde(default)]
    pub reason: String,
    /// Who decides; where the approval names approvers, one of them.
    #[serde(default)]
    pub by: String,
}

impl From<contract::Approval> for Approval {
    fn from(approval: contract::Approval) -> Self {
        Self {
            approval_id: approval.approval_id,
            execution_id: approval.execution_id,
            task: approval.task,
            agent: approval.agent,
            tool: approval.tool,
            arguments: approval.arguments.unwrap_or_default().0,
            status: approval.status,
            approvers: approval.approvers,
            requested_at: when(approval.requested_at.as_ref()),
            expires_at: when(approval.expires_at.as_ref()),
            on_timeout: approval.on_timeout,
            escalated: approval.escalated,
            decided_arguments: approval.decided_arguments.map(|arguments| arguments.0),
            reason: some(approval.reason),
            by: some(approval.by),
            decided_at: when(approval.decided_at.as_ref()),
            tenant: approval.tenant,
        }
    }
}

impl From<AgentApproval> for contract::ApprovalSettings {
    fn from(settings: AgentApproval) -> Self {
        Self {
            tools: Some(JsonObject(settings.tools)).filter(|tools| !tools.is_empty()),
            timeout_seconds: settings.timeout_seconds,
            on_timeout: settings.on_timeout,
            escalate_to: settings.escalate_to,
            approvers: settings.approvers,
        }
    }
}

impl From<contract::ApprovalSettings> for AgentApproval {
    fn from(settings: contract::ApprovalSettings) -> Self {
        Self {
            tools: settings.tools.unwrap_or_default().0,
            timeout_seconds: settings.timeout_seconds,
            on_timeout: settings.on_timeout,
            escalate_to: settings.escalate_to,
            approvers: settings.approvers,
        }
    }
}
