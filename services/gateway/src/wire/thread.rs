//! Threads, and what agents remember.

use chrono::{DateTime, Utc};
use muster_contracts::thread::v1 as contract;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Usage, some, when};

/// A conversation to begin.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewThread {
    /// The agent that answers.
    pub agent: String,
    /// 1 to 64 of letters, digits, `-` and `_`. Absent: a new one.
    pub thread_id: Option<String>,
    /// What happens to a message while a run is busy: `queue` (absent), `reject`, `interrupt` or `rollback`.
    #[serde(default)]
    pub on_busy: String,
    /// What the client keeps with it, at most 16 KiB.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
}

/// A message to send.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMessage {
    /// What is said, at most 64 KiB.
    pub content: String,
    /// What happens while a run is busy; absent: as the thread says.
    #[serde(default)]
    pub on_busy: String,
}

/// A message that is in its thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct SentMessage {
    /// The thread.
    pub thread_id: String,
    /// The message.
    pub message_id: String,
    /// The execution that answers it, which can be followed at `/v1/executions/{id}/events`.
    pub execution_id: String,
    /// `queued`, `running`, or how it ended.
    pub status: String,
}

/// A conversation with an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Thread {
    /// The thread.
    pub thread_id: String,
    /// The agent that answers.
    pub agent: String,
    /// What happens to a message while a run is busy.
    pub on_busy: String,
    /// `idle` or `running`.
    pub status: String,
    /// The execution that answers now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Oldest first; those that wait come last. A list of threads has none.
    pub messages: Vec<ThreadMessage>,
    /// When it began.
    pub created_at: Option<DateTime<Utc>>,
    /// When it changed last.
    pub updated_at: Option<DateTime<Utc>>,
    /// What the client keeps with it.
    #[serde(skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub metadata: Map<String, Value>,
    /// Whose it is; absent: the platform's own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub tenant: String,
}

/// A message of a thread.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ThreadMessage {
    /// The message.
    pub message_id: String,
    /// `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
    /// The execution that answers it, or that it comes from.
    pub execution_id: String,
    /// Of a user's message: `queued`, `running`, `answered`, `interrupted`, `cancelled` or `failed`. Of an answer: `complete`, or `partial` where its run was stopped.
    pub status: String,
    /// Why it has no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it came.
    pub at: Option<DateTime<Utc>>,
    /// Of an answer: what its run spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// Threads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Threads {
    /// The one that changed last first, without their messages.
    pub threads: Vec<Thread>,
}

/// What an agent remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Memories {
    /// The newest first.
    pub items: Vec<MemoryItem>,
}

/// Something that an agent remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct MemoryItem {
    /// By which it can be forgotten.
    pub item_id: String,
    /// What.
    pub content: String,
    /// Since when.
    pub created_at: Option<DateTime<Utc>>,
    /// Until when; absent: until it is forgotten.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// The execution that it comes from.
    pub execution_id: String,
}

/// What was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Forgotten {
    /// How many things.
    pub items: u32,
}

impl From<contract::Thread> for Thread {
    fn from(thread: contract::Thread) -> Self {
        Self {
            thread_id: thread.thread_id,
            agent: thread.agent,
            on_busy: thread.on_busy,
            status: thread.status,
            execution_id: some(thread.execution_id),
            messages: thread.messages.into_iter().map(Into::into).collect(),
            created_at: when(thread.created_at.as_ref()),
            updated_at: when(thread.updated_at.as_ref()),
            metadata: thread.metadata.map(|metadata| metadata.0).unwrap_or_default(),
            tenant: thread.tenant,
        }
    }
}

impl From<contract::ThreadMessage> for ThreadMessage {
    fn from(message: contract::ThreadMessage) -> Self {
        Self {
            message_id: message.message_id,
            role: message.role,
            content: message.content,
            execution_id: message.execution_id,
            status: message.status,
            error: some(message.error),
            at: when(message.at.as_ref()),
            usage: message.usage.map(Into::into),
        }
    }
}

impl From<contract::SentMessage> for SentMessage {
    fn from(sent: contract::SentMessage) -> Self {
        Self {
            thread_id: sent.thread_id,
            message_id: sent.message_id,
            execution_id: sent.execution_id,
            status: sent.status,
        }
    }
}

impl From<contract::MemoryList> for Memories {
    fn from(list: contract::MemoryList) -> Self {
        let items = list.items.into_iter().map(|item| MemoryItem {
            item_id: item.item_id,
            content: item.content,
            created_at: when(item.created_at.as_ref()),
            expires_at: when(item.expires_at.as_ref()),
            execution_id: item.execution_id,
        });
        Self { items: items.collect() }
    }
}
