//! The templates that are there: built-in ones, the latest registered of each name before them, and every version by its digest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_bus::{Bucket, Bus, Kv, KvError};
use muster_contracts::template::v1::TemplateDefinition;
use muster_contracts::{Fault, time};

use crate::domain::{built_in, definition, shown};
use crate::error::Error;

/// Names that an error lists.
const LISTED: usize = 20;
const LATEST: &str = "templates/latest/";

/// The templates. Cheap to clone. It remembers nothing that can be registered: every replica answers what the bucket has.
#[derive(Clone)]
pub(crate) struct Registry {
    registered: Kv<TemplateDefinition>,
    built_in: Arc<BTreeMap<String, TemplateDefinition>>,
}

impl Registry {
    pub(crate) fn new(bus: &Bus) -> anyhow::Result<Self> {
        Ok(Self { registered: bus.kv(Bucket::Registry), built_in: Arc::new(built_in::all()?) })
    }

    /// Registers a definition that has its digest. A version is written once: its time is that of its first registration.
    pub(crate) async fn put(
        &self,
        definition: TemplateDefinition,
    ) -> Result<TemplateDefinition, Fault> {
        let key = version(&definition.name, &definition.digest);
        let definition = match self.registered.create(&key, &definition).await {
            Ok(_revision) => definition,
            Err(KvError::Conflict) => {
                self.registered.get(&key).await?.map_or(definition, |found| found.value)
            }
            Err(KvError::Fault(fault)) => return Err(fault),
        };
        let latest = latest(&definition.name);
        let found = self.registered.get(&latest).await?;
        if found.is_none_or(|found| found.value != definition) {
            self.registered.put(&latest, &definition).await?;
        }
        Ok(definition)
    }

    /// The template of this name.
    pub(crate) async fn get(&self, name: &str) -> Result<TemplateDefinition, Error> {
        if let Some(found) = self.registered(name).await? {
            return Ok(found);
        }
        if let Some(built_in) = self.built_in.get(name) {
            return Ok(built_in.clone());
        }
        let names: Vec<String> = self.names().await?.into_iter().take(LISTED).collect();
        Err(Error::UnknownTemplate { name: shown(name), known: names.join(", ") })
    }

    /// A version of a template, by its digest.
    pub(crate) async fn version(&self, name: &str, of: &str) -> Result<TemplateDefinition, Error> {
        let digest = of.strip_prefix("sha256:").unwrap_or(of);
        let is_digest = !digest.is_empty() && digest.bytes().all(|b| b.is_ascii_hexdigit());
        if is_digest
            && definition::check_name(name).is_ok()
            && let Some(found) = self.registered.get(&version(name, digest)).await?
        {
            return Ok(found.value);
        }
        if let Some(built_in) = self.built_in.get(name)
            && built_in.digest == digest
        {
            return Ok(built_in.clone());
        }
        let known = self.versions(name).await?;
        if known.is_empty() {
            // Says that the template is unknown.
            self.get(name).await?;
        }
        let known: Vec<&str> = known.iter().take(LISTED).map(|one| one.digest.as_str()).collect();
        let (name, version) = (shown(name), shown(of));
        Err(Error::UnknownVersion { name, version, known: known.join(", ") })
    }

    /// Every version of a template, the newest first, and the built-in one last.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<TemplateDefinition>, Fault> {
        if definition::check_name(name).is_err() {
            return Ok(Vec::new());
        }
        let mut versions = Vec::new();
        for key in self.registered.keys(&version(name, "")).await? {
            versions.extend(self.registered.get(&key).await?.map(|found| found.value));
        }
        versions.sort_by_key(|found| std::cmp::Reverse(time(found.registered_at.as_ref())));
        versions.extend(self.built_in.get(name).cloned());
        Ok(versions)
    }

    /// Removes what is registered under a name; its versions stay.
    pub(crate) async fn delete(&self, name: &str) -> Result<TemplateDefinition, Error> {
        let Some(found) = self.registered(name).await? else {
            let built_in = self.get(name).await?;
            return Err(Error::BuiltIn(built_in.name));
        };
        self.registered.delete(&latest(name)).await?;
        Ok(found)
    }

    /// The templates in the order of their names.
    pub(crate) async fn list(&self) -> Result<Vec<TemplateDefinition>, Fault> {
        let mut templates = Vec::new();
        for name in self.names().await? {
            let found = self.registered.get(&latest(&name)).await?.map(|found| found.value);
            templates.extend(found.or_else(|| self.built_in.get(&name).cloned()));
        }
        Ok(templates)
    }

    async fn registered(&self, name: &str) -> Result<Option<TemplateDefinition>, Fault> {
        if definition::check_name(name).is_err() {
            return Ok(None);
        }
        Ok(self.registered.get(&latest(name)).await?.map(|found| found.value))
    }

    async fn names(&self) -> Result<BTreeSet<String>, Fault> {
        let keys = self.registered.keys(LATEST).await?;
        let registered = keys.iter().filter_map(|key| key.rsplit('/').next()).map(str::to_owned);
        Ok(registered.chain(self.built_in.keys().cloned()).collect())
    }
}

fn version(name: &str, digest: &str) -> String {
    format!("templates/version/{name}/{digest}")
}

fn latest(name: &str) -> String {
    format!("{LATEST}{name}")
}
