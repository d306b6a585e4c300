//! Streams of the broker, as they stand.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use muster_bus::StreamInfo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::DeliverableEntry;

/// Nanoseconds of a second: the broker tells times in them.
const SECOND: u64 = 1_000_000_000;

/// A stream as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamStatus {
    /// Its name. Buckets are called `KV_…`, object stores `OBJ_…`.
    pub name: String,
    /// What it keeps, with the wildcards of NATS.
    pub subjects: Vec<String>,
    /// `file` or `memory`.
    pub storage: String,
    /// How many servers keep it.
    pub replicas: u64,
    /// How many messages it has.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The sequence of the oldest message.
    pub first_sequence: u64,
    /// The sequence of the newest message.
    pub last_sequence: u64,
    /// How many consumers read it.
    pub consumers: usize,
    /// What it may have at most. 0: no limit.
    pub limits: StreamLimits,
    /// When it was created.
    pub created_at: DateTime<Utc>,
}

/// What a stream may have at most. 0: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamLimits {
    /// Messages: the oldest go first.
    pub messages: u64,
    /// Bytes: the oldest messages go first.
    pub bytes: u64,
    /// Seconds that a message stays.
    pub age_seconds: u64,
    /// Bytes of one message.
    pub message_bytes: u64,
    /// Seconds within which a second message with the same id is dropped.
    pub duplicate_window_seconds: u64,
}

/// The streams of the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StreamStatuses {
    /// By name.
    pub streams: Vec<StreamStatus>,
}

/// What an agent has delivered lately.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AgentStream {
    /// The agent.
    pub agent: String,
    /// The stream of its own, which members of the example team have once they delivered something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamStatus>,
    /// How many deliverables of it there are, all versions.
    pub deliverables: usize,
    /// How many of each type.
    pub types: BTreeMap<String, usize>,
    /// The newest of them, oldest first; at most 10.
    pub recent: Vec<DeliverableEntry>,
}

impl From<StreamInfo> for StreamStatus {
    fn from(info: StreamInfo) -> Self {
        let config = &info.config;
        // -1 is no limit where the broker says it.
        let number = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or_default();
        let text =
            |name: &str| config.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let subjects = config.get("subjects").and_then(Value::as_array);
        let subjects = subjects.into_iter().flatten().filter_map(Value::as_str);
        Self {
            name: info.name().to_owned(),
            subjects: subjects.map(str::to_owned).collect(),
            storage: text("storage"),
            replicas: number("num_replicas"),
            messages: info.messages,
            bytes: info.bytes,
            first_sequence: info.first_sequence,
            last_sequence: info.last_sequence,
            consumers: info.consumers,
            limits: StreamLimits {
                messages: number("max_msgs"),
                bytes: number("max_bytes"),
                age_seconds: number("max_age") / SECOND,
                message_bytes: number("max_msg_size"),
                duplicate_window_seconds: number("duplicate_window") / SECOND,
            },
            created_at: info.created,
        }
    }
}
