//! Deliverables.

use chrono::{DateTime, Utc};
use muster_contracts::agent::v1::DeliverableAddress;
use muster_deliverable::{Entry, Page, Stored};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{some, when};

/// What an agent produced.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deliverable {
    /// Where it is, with its version; `GET /v1/{address}` gives it.
    #[serde(default)]
    pub address: String,
    /// Who produced it.
    pub agent: String,
    /// What kind of thing it is, such as `report`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub feature: String,
    /// Its version: its place in the stream.
    #[serde(default)]
    pub sequence: u64,
    /// The text.
    pub content: String,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
    /// Tokens of the content by the o200k tokenizer.
    pub tokens: u32,
    /// The execution in which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The task in which it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
}

/// A deliverable that is to be stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDeliverable {
    /// `agog`: in the streams of the example team. Else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// Who produced it: 1 to 64 bytes without `.`, `*`, `>`, `/`, `@` and white space, as `type` and `feature`.
    pub agent: String,
    /// What kind of thing it is; `report` where it is absent.
    #[serde(rename = "type", default = "report")]
    pub kind: String,
    /// What it is about.
    pub feature: String,
    /// The text, 1 to 10,000,000 bytes.
    pub content: String,
    /// The execution that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// The task that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
}

/// Where a deliverable was stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PublishedDeliverable {
    /// Its address with the version.
    pub address: String,
    /// Its version: its place in the stream.
    pub sequence: u64,
    /// It was there already; nothing was stored.
    pub duplicate: bool,
    /// Tokens of the content by the o200k tokenizer.
    pub tokens: u32,
    /// SHA-256 of the content, hexadecimal.
    pub sha256: String,
}

/// A deliverable without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeliverableEntry {
    /// Its address with the version.
    pub address: String,
    /// Who produced it.
    pub agent: String,
    /// What kind of thing it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is about.
    pub feature: String,
    /// Its version: its place in the stream.
    pub sequence: u64,
    /// The size of the stored message, which may be compressed.
    pub bytes: u64,
    /// Tokens of the content; absent where its publisher did not say it in the header `Muster-Tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
    /// SHA-256 of the content; absent where its publisher did not say it in the header `Muster-Sha256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// The execution that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// When it was stored.
    pub at: DateTime<Utc>,
}

/// A part of what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Deliverables {
    /// Oldest first.
    pub deliverables: Vec<DeliverableEntry>,
    /// The `after` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Where the answers of an agent are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentDeliverable {
    /// `agog`: in the streams of the example team, whose members are cynthia, sylvia, roy, jen, billy and priya. Empty: in DELIVERABLES.
    #[serde(default)]
    pub team: String,
    /// What kind of thing they are; empty: `report`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// JSON Pointer to the text in a run's input that names the feature, such as `/feature`. Empty: each run has a name of its own.
    #[serde(default)]
    pub feature: String,
}

fn report() -> String {
    "report".to_owned()
}

impl From<Stored> for Deliverable {
    fn from(stored: Stored) -> Self {
        let deliverable = stored.deliverable;
        Self {
            address: stored.address.to_string(),
            sequence: stored.sequence,
            agent: deliverable.agent,
            kind: deliverable.r#type,
            feature: deliverable.feature,
            content: deliverable.content,
            sha256: deliverable.sha256,
            tokens: deliverable.tokens,
            execution_id: some(deliverable.execution_id),
            task: some(deliverable.task),
            at: when(deliverable.timestamp.as_ref()),
        }
    }
}

impl From<Entry> for DeliverableEntry {
    fn from(entry: Entry) -> Self {
        Self {
            address: entry.address.to_string(),
            agent: entry.address.agent,
            kind: entry.address.kind,
            feature: entry.address.feature,
            sequence: entry.sequence,
            bytes: entry.bytes,
            tokens: entry.tokens,
            sha256: entry.sha256,
            execution_id: some(entry.execution_id),
            at: entry.time,
        }
    }
}

impl From<Page> for Deliverables {
    fn from(page: Page) -> Self {
        Self { deliverables: page.entries.into_iter().map(Into::into).collect(), next: page.next }
    }
}

impl From<muster_deliverable::Published> for PublishedDeliverable {
    fn from(published: muster_deliverable::Published) -> Self {
        Self {
            address: published.address.to_string(),
            sequence: published.sequence,
            duplicate: published.duplicate,
            tokens: published.tokens,
            sha256: published.sha256,
        }
    }
}

impl From<AgentDeliverable> for DeliverableAddress {
    fn from(settings: AgentDeliverable) -> Self {
        Self { team: settings.team, r#type: settings.kind, feature: settings.feature }
    }
}

impl From<DeliverableAddress> for AgentDeliverable {
    fn from(settings: DeliverableAddress) -> Self {
        Self { team: settings.team, kind: settings.r#type, feature: settings.feature }
    }
}
