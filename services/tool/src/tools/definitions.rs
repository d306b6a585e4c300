//! What is registered: kept in the bucket `REGISTRY`, made ready once for each revision.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use muster_bus::{Bucket, Kv, Versioned};
use muster_contracts::tool::v1::ToolDefinition;

use super::{Kind, Registered};
use crate::domain::call::{Definition, Effect};
use crate::domain::registration::{self, BETWEEN};
use crate::error::Error;
use crate::kinds::{Broken, Entry, Kinds};
use crate::limits::Limits;
use crate::tools::worker::Worker;

const PREFIX: &str = "tools/";
/// Servers and documents that are asked for their tools at the same time.
const ASKED: usize = 16;

/// The registered tools. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Definitions {
    kinds: Kinds,
    kept: Kv<ToolDefinition>,
    ready: Arc<Mutex<HashMap<String, Ready>>>,
}

/// What is registered, with its revision.
type Ready = (u64, Entry);

impl Definitions {
    pub(super) fn new(kinds: Kinds) -> Self {
        Self { kept: kinds.bus.kv(Bucket::Registry), kinds, ready: Arc::default() }
    }

    /// Registers a checked definition.
    pub(crate) async fn put(&self, definition: ToolDefinition) -> Result<ToolDefinition, Error> {
        // Made ready first: what cannot be called is not registered.
        let definition = self.kinds.complete(definition).await?;
        let entry = self.kinds.make(&definition).await?;
        let revision = self.kept.put(&key(&definition.name), &definition).await?;
        let shown = entry.describe(revision).await;
        self.ready().insert(definition.name, (revision, entry));
        Ok(shown)
    }

    /// Removes what has this name; nothing where there was nothing.
    pub(crate) async fn remove(&self, name: &str) -> Result<Option<ToolDefinition>, Error> {
        let Some(found) = self.read(name).await? else { return Ok(None) };
        self.kept.delete(&key(name)).await?;
        self.ready().remove(name);
        Ok(Some(ToolDefinition { revision: found.revision, ..found.value }))
    }

    /// The tool with this name: a registered one, or one of a registered server or document.
    pub(super) async fn tool(&self, name: &str) -> Result<Option<Arc<Registered>>, Error> {
        if let Some((source, _)) = name.split_once(BETWEEN) {
            let Some((_, Entry::Source(source))) = self.get(source).await? else { return Ok(None) };
            return find(&source.tools().await?, name).map(Some).map_or_else(
                || Err(Error::NotFound(format!("{} has no tool {name:?}", source.who()))),
                Ok,
            );
        }
        match self.get(name).await? {
            Some((_, Entry::Tool(tool))) => Ok(Some(tool)),
            Some((_, Entry::Source(source))) => Err(Error::Invalid(format!(
                "{} is no tool itself: call one of its tools, {name}{BETWEEN}…, which GET /v1/tools lists",
                source.who()
            ))),
            Some((_, Entry::Broken(broken))) => Err(Error::unavailable(format!(
                "the tool {name:?} cannot be called: {}",
                broken.problem
            ))),
            None => Ok(None),
        }
    }

    /// What has this name, as it is shown; `NAME__*` is all that NAME has.
    pub(super) async fn named(&self, name: &str) -> Result<Option<Vec<ToolDefinition>>, Error> {
        let found = match name.split_once(BETWEEN) {
            Some((source, "*")) => match self.get(source).await? {
                Some((revision, Entry::Source(source))) => {
                    Some(shown(&source.tools().await?, revision))
                }
                _ => None,
            },
            Some((source, _)) => match self.get(source).await? {
                Some((revision, Entry::Source(source))) => {
                    find(&source.tools().await?, name).map(|tool| vec![tool.describe(revision)])
                }
                _ => None,
            },
            None => match self.get(name).await? {
                Some((revision, entry)) => Some(vec![entry.describe(revision).await]),
                None => None,
            },
        };
        Ok(found)
    }

    /// All that is registered, and what the servers and documents have that answer.
    pub(super) async fn all(&self) -> Result<Vec<ToolDefinition>, Error> {
        let mut found = Vec::new();
        for name in self.names().await? {
            found.extend(self.get(&name).await?);
        }
        let lists = stream::iter(found).map(|(revision, entry)| async move {
            let mut list = vec![entry.describe(revision).await];
            if let Entry::Source(source) = &entry {
                list.extend(shown(&source.known(), revision));
            }
            list
        });
        Ok(lists.buffered(ASKED).concat().await)
    }

    pub(super) async fn names(&self) -> Result<Vec<String>, Error> {
        let keys = self.kept.keys(PREFIX).await?;
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
        let timeout = self.kinds.config.timeout;
        let worker = Worker { bus: self.kinds.bus.clone(), definition, timeout };
        let limits = Limits::standard(&self.kinds.config);
        Registered::new(Box::new(worker), Kind::Unregistered, limits, timeout)
    }

    async fn read(&self, name: &str) -> Result<Option<Versioned<ToolDefinition>>, Error> {
        if registration::name(name).is_err() {
            return Ok(None);
        }
        Ok(self.kept.get(&key(name)).await?)
    }

    async fn get(&self, name: &str) -> Result<Option<Ready>, Error> {
        let Some(found) = self.read(name).await? else {
            self.ready().remove(name);
            return Ok(None);
        };
        if let Some(ready) = self.ready().get(name).filter(|ready| ready.0 == found.revision) {
            return Ok(Some(ready.clone()));
        }
        let entry = match self.kinds.make(&found.value).await {
            Ok(entry) => entry,
            // Not kept: what it lacks may come back.
            Err(error) => {
                let problem = error.to_string();
                let broken = Broken { definition: found.value, problem };
                return Ok(Some((found.revision, Entry::Broken(Arc::new(broken)))));
            }
        };
        let mut ready = self.ready();
        // Another call may have been quicker: a server is started once.
        let kept = ready.entry(name.to_owned()).or_insert_with(|| (found.revision, entry.clone()));
        if kept.0 < found.revision {
            *kept = (found.revision, entry);
        }
        Ok(Some(kept.clone()))
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<String, Ready>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a call may take.
pub(crate) fn timeout(definition: &ToolDefinition, standard: Duration) -> Duration {
    match definition.timeout_ms {
        0 => standard,
        ms => Duration::from_millis(ms.into()),
    }
}

fn find(tools: &[Arc<Registered>], name: &str) -> Option<Arc<Registered>> {
    tools.iter().find(|tool| tool.definition.name == name).cloned()
}

fn shown(tools: &[Arc<Registered>], revision: u64) -> Vec<ToolDefinition> {
    tools.iter().map(|tool| tool.describe(revision)).collect()
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}
