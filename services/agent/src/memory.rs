//! What agents remember: kept in the bucket THREADS, one value for each place.

use chrono::Utc;
use muster_bus::{Bucket, Bus, Kv, KvError, MessageId, Versioned};
use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::{Code, Fault, JsonObject, subject};
use serde_json::{Value, json};

use crate::domain::definition::memory_items;
use crate::domain::memory::{Bounds, Item, Memory, Wish};

/// How often a change is decided again where somebody else was faster.
const TRIES: u32 = 64;

/// The memories. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Memories {
    memories: Kv<Memory>,
}

/// Where an agent remembers, and how much.
#[derive(Clone)]
pub(crate) struct Place {
    key: String,
    bounds: Bounds,
}

impl Place {
    /// The place of an agent's memory; none where it remembers nothing.
    pub(crate) fn of(definition: &AgentDefinition, tenant: &str) -> Option<Self> {
        let settings = definition.memory.as_ref()?;
        let tenant =
            if tenant.is_empty() { "_".to_owned() } else { subject::derived_token(tenant) };
        // No agent can be called so.
        let who = if settings.scope == "tenant" { "_all" } else { definition.name.as_str() };
        let bounds = Bounds { items: memory_items(definition), ttl: settings.ttl_seconds };
        Some(Self { key: format!("memories.{tenant}.{who}"), bounds })
    }
}

impl Memories {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { memories: bus.kv(Bucket::Threads) }
    }

    /// Does what a tool call of a model wants. The same call a second time writes nothing.
    pub(crate) async fn call(
        &self,
        place: &Place,
        tool: &str,
        arguments: &JsonObject,
        made_by: (&str, &str),
    ) -> Result<Value, Fault> {
        let (key, execution_id) = made_by;
        let wish = Wish::parse(tool, arguments).map_err(|flaw| Fault::new(Code::Invalid, flaw))?;
        match wish {
            Wish::Remember(content) => {
                let id: String =
                    MessageId::derived(["memory", key]).as_str().chars().take(16).collect();
                let item = Item {
                    id: id.clone(),
                    content,
                    at: Utc::now(),
                    expires_at: None,
                    execution_id: execution_id.to_owned(),
                };
                self.change(place, |memory| memory.remember(item.clone(), place.bounds)).await?;
                Ok(json!({ "remembered": id }))
            }
            Wish::Recall { query, limit } => {
                let memory = self.read(place).await?;
                let found = memory.recall(&query, limit);
                let told = found.into_iter().map(|item| {
                    json!({"id": item.id, "content": item.content, "at": item.at.to_rfc3339()})
                });
                Ok(json!({ "memories": told.collect::<Vec<_>>() }))
            }
            // A second try finds nothing any more, and that is as it should be.
            Wish::Forget(id) => {
                self.change(place, |memory| memory.forget(&id)).await?;
                Ok(json!({ "forgotten": id }))
            }
        }
    }

    /// What is remembered at a place, oldest first. What is over is removed from there: it is to be in no bucket any more.
    pub(crate) async fn read(&self, place: &Place) -> Result<Memory, Fault> {
        let Some(Versioned { value: mut memory, revision }) = self.memories.get(&place.key).await?
        else {
            return Ok(Memory::default());
        };
        if memory.expire(Utc::now()) {
            match self.memories.update(&place.key, &memory, revision).await {
                // Whoever was faster has removed it, too.
                Ok(_) | Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault),
            }
        }
        Ok(memory)
    }

    /// Removes one thing, or everything. How many there were.
    pub(crate) async fn forget(&self, place: &Place, id: &str) -> Result<usize, Fault> {
        self.change(place, |memory| {
            let before = memory.items.len();
            if id.is_empty() {
                memory.items.clear();
            } else {
                memory.forget(id);
            }
            before - memory.items.len()
        })
        .await
    }

    async fn change<R>(
        &self,
        place: &Place,
        mut change: impl FnMut(&mut Memory) -> R,
    ) -> Result<R, Fault> {
        for _ in 0..TRIES {
            let found = self.memories.get(&place.key).await?;
            let (before, revision) = match found {
                Some(Versioned { value, revision }) => (value, Some(revision)),
                None => (Memory::default(), None),
            };
            let mut memory = before.clone();
            memory.expire(Utc::now());
            let told = change(&mut memory);
            if memory == before {
                return Ok(told);
            }
            let written = match revision {
                Some(revision) => self.memories.update(&place.key, &memory, revision).await,
                None => self.memories.create(&place.key, &memory).await,
            };
            match written {
                Ok(_revision) => return Ok(told),
                Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::new(Code::Unavailable, "the memory changes too fast; try again"))
    }
}
