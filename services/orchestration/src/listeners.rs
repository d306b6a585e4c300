//! Who waits for which events: an index of keys by the type of the events.
//!
//! A key is `{type}.{shard}.{listener}`, so that the listeners for a type are found without
//! reading the others, and many of them at the same time. What is told to nobody costs two reads.

use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::{Fault, subject};
use muster_workflow::Interest;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Where those are who may want events of any type.
const ANY: &str = "any";
/// The listeners for one type are in so many parts, one for each hexadecimal digit.
const SHARDS: &str = "0123456789abcdef";

/// The index. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Listeners {
    keys: Kv<Listener>,
}

/// Somebody who waits for events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    #[serde(flatten)]
    pub(crate) who: Who,
    pub(crate) interest: Interest,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub(crate) enum Who {
    /// A task of an execution.
    Task {
        execution_id: String,
        task: String,
        /// The place of the journal's entry with which it began to listen: it hears what was stored behind it. Journals and events are in one stream.
        since: u64,
    },
    /// A workflow that events start.
    Workflow { workflow: String, digest: String },
}

impl Who {
    fn token(&self) -> String {
        match self {
            Self::Task { execution_id, task, .. } => {
                subject::derived_token(&format!("{execution_id}{task}"))
            }
            Self::Workflow { workflow, digest } => {
                subject::derived_token(&format!("workflow/{workflow}/{digest}"))
            }
        }
    }
}

impl Listeners {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { keys: bus.kv(Bucket::Listeners) }
    }

    /// Registers somebody. A second time changes nothing.
    pub(crate) async fn register(&self, who: &Who, interests: &[Interest]) -> Result<(), Fault> {
        let puts = interests.iter().map(async |interest| {
            let listener = Listener { who: who.clone(), interest: interest.clone() };
            self.keys.put(&key(interest, who), &listener).await
        });
        futures::future::try_join_all(puts).await.map(drop)
    }

    /// Removes a registration, if it is there.
    pub(crate) async fn remove(&self, who: &Who, interests: &[Interest]) -> Result<(), Fault> {
        let gone =
            interests.iter().map(async |interest| self.keys.forget(&key(interest, who)).await);
        futures::future::try_join_all(gone).await.map(drop)
    }

    /// Those who may want an event.
    pub(crate) async fn of(&self, event: &Value) -> Result<Vec<Listener>, Fault> {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let kind = subject::derived_token(kind);
        let (mut those, others) = futures::try_join!(self.under(&kind), self.under(ANY))?;
        those.extend(others);
        those.retain(|listener| listener.interest.covers(event));
        Ok(those)
    }

    async fn under(&self, kind: &str) -> Result<Vec<Listener>, Fault> {
        let Some(_first) = self.keys.next_under(kind, 0).await? else { return Ok(Vec::new()) };
        let shards = SHARDS.chars().map(async |shard| {
            let (under, mut from, mut found) = (format!("{kind}.{shard}"), 0, Vec::new());
            while let Some((_key, entry)) = self.keys.next_under(&under, from).await? {
                from = entry.revision + 1;
                found.push(entry.value);
            }
            Ok::<_, Fault>(found)
        });
        Ok(futures::future::try_join_all(shards).await?.concat())
    }
}

fn key(interest: &Interest, who: &Who) -> String {
    let kind = interest.kind.as_deref().map_or_else(|| ANY.to_owned(), subject::derived_token);
    let listener = who.token();
    // It ends with a hash.
    let shard = listener.chars().last().filter(|last| SHARDS.contains(*last)).unwrap_or('0');
    format!("{kind}.{shard}.{listener}")
}
