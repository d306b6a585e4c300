//! The tools that workers have registered: kept in the bucket `REGISTRY`, made ready once for each revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::tool::v1::ToolDefinition;

use super::worker::Worker;
use super::{Kind, Registered};
use crate::config::Config;
use crate::domain::call::{Definition, Effect};
use crate::domain::registration;
use crate::error::Error;

const PREFIX: &str = "tools/";

/// The registered tools. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Workers {
    bus: Bus,
    config: Config,
    definitions: Kv<ToolDefinition>,
    ready: Arc<Mutex<HashMap<String, Ready>>>,
}

/// A tool with the revision of its definition.
type Ready = (u64, Arc<Registered>);

impl Workers {
    pub(super) fn new(bus: &Bus, config: &Config) -> Self {
        Self {
            bus: bus.clone(),
            config: config.clone(),
            definitions: bus.kv(Bucket::Registry),
            ready: Arc::default(),
        }
    }

    /// Registers a checked definition.
    pub(crate) async fn put(&self, definition: &ToolDefinition) -> Result<ToolDefinition, Error> {
        // Made ready first: what cannot be called is not registered.
        let shown = self.make(definition)?.describe();
        self.definitions.put(&key(&definition.name), definition).await?;
        Ok(shown)
    }

    /// Removes a tool; false where there was none.
    pub(crate) async fn remove(&self, name: &str) -> Result<bool, Error> {
        if registration::name(name).is_err() || self.definitions.get(&key(name)).await?.is_none() {
            return Ok(false);
        }
        self.definitions.delete(&key(name)).await?;
        Ok(true)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Arc<Registered>>, Error> {
        if registration::name(name).is_err() {
            return Ok(None);
        }
        let Some(found) = self.definitions.get(&key(name)).await? else {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
            return Ok(None);
        };
        if let Some((revision, tool)) =
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(name)
            && *revision == found.revision
        {
            return Ok(Some(tool.clone()));
        }
        let tool = Arc::new(self.make(&found.value)?);
        self.ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), (found.revision, tool.clone()));
        Ok(Some(tool))
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, Error> {
        let keys = self.definitions.keys(PREFIX).await?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(PREFIX)).map(str::to_owned).collect())
    }

    /// Nobody has said what this tool does, so it is the class that must not happen twice.
    pub(super) fn unregistered(&self, name: &str) -> Result<Registered, Error> {
        let definition = Definition {
            name: name.to_owned().into(),
            description: "".into(),
            parameters: serde_json::json!({ "type": "object" }),
            effect: Effect::Once,
        };
        self.registered(definition, Kind::Unregistered, self.config.timeout)
    }

    fn make(&self, definition: &ToolDefinition) -> Result<Registered, Error> {
        let timeout = match definition.timeout_ms {
            0 => self.config.timeout,
            ms => Duration::from_millis(ms.into()),
        };
        let definition = Definition {
            name: definition.name.clone().into(),
            description: definition.description.clone().into(),
            parameters: definition.parameters.clone().unwrap_or_default().into_value(),
            effect: Effect::from_name(&definition.effect).unwrap_or(Effect::Once),
        };
        self.registered(definition, Kind::Worker, timeout)
    }

    fn registered(
        &self,
        definition: Definition,
        kind: Kind,
        timeout: Duration,
    ) -> Result<Registered, Error> {
        let worker = Worker { bus: self.bus.clone(), definition, timeout };
        Registered::new(Box::new(worker), kind, &self.config, timeout)
    }
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}
