//! What stands in the bodies of requests and responses.

mod agent;
mod approval;
mod cloud_event;
mod collection;
mod dead_letter;
mod deliverable;
mod event;
mod execution;
mod key;
mod model_alias;
pub(crate) mod openai;
mod stream;
mod team;
mod template;
mod thread;
mod time_travel;
mod tool;
mod workflow;

pub use agent::{Agent, AgentVersion, AgentVersions, Agents, Context, Limits, Memory, Model};
pub use approval::{AgentApproval, Approval, Approvals, Decision};
pub use cloud_event::{PublishedEvent, PublishedEvents, Signal, Signalled};
pub use collection::{Document, Hit, Hits, NewDocument, PendingDocument, Search};
pub use dead_letter::{DeadLetter, DeadLetters, Message, Purged, Replay, ReplayError, Replays};
pub use deliverable::{
    AgentDeliverable, Deliverable, DeliverableEntry, Deliverables, NewDeliverable,
    PublishedDeliverable,
};
pub use event::{AgentUsage, Event, Events, ExecutionUsage, Usage};
pub use execution::{
    Execution, ExecutionSummary, Executions, ParentTask, Reason, Start, Started, Task,
};
pub use key::{
    Allowance, Allowances, CreatedKey, Key, Keys, Limited, NewKey, NewProviderKey, Period,
    ProviderKey, ProviderKeys, Rewrapped, Spending,
};
pub use model_alias::{ModelAlias, ModelAliases, ModelTarget};
pub use stream::{AgentStream, StreamLimits, StreamStatus, StreamStatuses};
pub use team::{AcceptedMessage, AgentStatus, AgentTask, AgentTeam, NewAgentMessage, NewAgentTask};
pub use template::{
    RenderedTemplate, Template, TemplateValues, TemplateVersion, TemplateVersions, Templates,
};
pub use thread::{
    Forgotten, Memories, MemoryItem, NewMessage, NewThread, SentMessage, Thread, ThreadMessage,
    Threads,
};
pub use time_travel::{
    DiffSide, ExecutionCheck, ExecutionDiff, ExecutionReplay, Fork, Origin, TaskDifference,
    VersionDifference, WorkflowCheck,
};
pub use tool::{Call, Called, Tool, Tools};
pub use workflow::{Workflow, Workflows};

use chrono::{DateTime, Utc};
use muster_contracts::Timestamp;

fn when(timestamp: Option<&Timestamp>) -> Option<DateTime<Utc>> {
    timestamp.map(|timestamp| muster_contracts::time(Some(timestamp)))
}

/// Absent where the text is empty, as protobuf's default values mean it.
fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
