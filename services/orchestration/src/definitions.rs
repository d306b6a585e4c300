//! Registered definitions: immutable by digest, found by name and version.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use muster_bus::{Bucket, Bus, Kv, KvError};
use muster_workflow::Definition;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

/// Definitions kept parsed in memory.
const PARSED: u64 = 256;

/// The registered definitions. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Definitions {
    entries: Kv<Entry>,
    documents: Kv<Value>,
    parsed: moka::sync::Cache<String, Arc<Definition>>,
}

/// What a name and a version stand for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) digest: String,
    pub(crate) registered_at: DateTime<Utc>,
}

impl Definitions {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self {
            entries: bus.kv(Bucket::Registry),
            documents: bus.kv(Bucket::Registry),
            parsed: moka::sync::Cache::new(PARSED),
        }
    }

    /// Registers a definition. False where it was registered before.
    pub(crate) async fn register(
        &self,
        definition: &Definition,
        now: DateTime<Utc>,
    ) -> Result<(Entry, bool), Error> {
        let (name, version) = (definition.name(), definition.version());
        if let Some(latest) = self.find(name, "").await?
            && latest.namespace != definition.namespace()
        {
            return Err(Error::NameTaken {
                name: name.to_owned(),
                registered: latest.namespace,
                given: definition.namespace().to_owned(),
            });
        }
        let entry = Entry {
            namespace: definition.namespace().to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            digest: definition.digest().to_owned(),
            registered_at: now,
        };
        // The document first: an entry never points to nothing.
        self.documents.put(&document_key(definition.digest()), definition.document()).await?;
        let (entry, created) = match self.entries.create(&version_key(name, version), &entry).await
        {
            Ok(_revision) => (entry, true),
            Err(KvError::Fault(fault)) => return Err(fault.into()),
            Err(KvError::Conflict) => match self.find(name, version).await? {
                Some(registered) if registered.digest == entry.digest => (registered, false),
                _ => {
                    return Err(Error::VersionTaken {
                        name: name.to_owned(),
                        version: version.to_owned(),
                    });
                }
            },
        };
        if created || self.find(name, "").await?.is_none() {
            self.entries.put(&latest_key(name), &entry).await?;
        }
        Ok((entry, created))
    }

    /// Removes a workflow with all its versions; the documents stay for the executions that are on them.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Error> {
        for key in self.entries.keys(&format!("workflows/version/{name}/")).await? {
            self.entries.delete(&key).await?;
        }
        // Last: a removal that is cut off in the middle can be asked for again.
        Ok(self.entries.delete(&latest_key(name)).await?)
    }

    /// Keeps a definition for executions that stay on it, without registering it.
    pub(crate) async fn keep(&self, definition: &Definition) -> Result<(), Error> {
        self.documents.put(&document_key(definition.digest()), definition.document()).await?;
        Ok(())
    }

    /// The entry of a version; of the one that was registered last where `version` is empty.
    pub(crate) async fn find(&self, name: &str, version: &str) -> Result<Option<Entry>, Error> {
        if !is_name(name)
            || !version
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'+'))
        {
            return Ok(None);
        }
        let key = if version.is_empty() { latest_key(name) } else { version_key(name, version) };
        Ok(self.entries.get(&key).await?.map(|entry| entry.value))
    }

    /// All workflows, each in the version that was registered last.
    pub(crate) async fn list(&self) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for key in self.entries.keys("workflows/latest/").await? {
            entries.extend(self.entries.get(&key).await?.map(|entry| entry.value));
        }
        Ok(entries)
    }

    /// The definition with this digest.
    pub(crate) async fn load(&self, digest: &str) -> Result<Arc<Definition>, Error> {
        match self.parsed.get(digest) {
            Some(definition) => Ok(definition),
            // On the heap: every transition would have room for it.
            None => Box::pin(self.read(digest)).await,
        }
    }

    async fn read(&self, digest: &str) -> Result<Arc<Definition>, Error> {
        if digest.is_empty() || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::UnknownDigest(digest.to_owned()));
        }
        let document = self
            .documents
            .get(&document_key(digest))
            .await?
            .ok_or_else(|| Error::UnknownDigest(digest.to_owned()))?;
        let definition = Definition::from_json(document.value).map_err(|problems| {
            Error::Damaged(format!("definition {digest} is registered but cannot run: {problems}"))
        })?;
        let definition = Arc::new(definition);
        self.parsed.insert(digest.to_owned(), definition.clone());
        Ok(definition)
    }
}

/// The specification's pattern of names; keys of the bucket allow no more.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn latest_key(name: &str) -> String {
    format!("workflows/latest/{name}")
}

/// A version's build metadata begins with `+`, which no key may have.
fn version_key(name: &str, version: &str) -> String {
    format!("workflows/version/{name}/{}", version.replace('+', "="))
}

fn document_key(digest: &str) -> String {
    format!("workflows/document/{digest}")
}
