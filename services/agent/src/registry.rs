//! Registered agents: the latest of each name, and every version by its digest.

use muster_bus::{Bucket, Bus, Kv, KvError};
use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::{Fault, time};

use crate::Error;

/// Names that an error lists.
const LISTED: usize = 20;

/// The registered agents. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    agents: Kv<AgentDefinition>,
}

impl Registry {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { agents: bus.kv(Bucket::Registry) }
    }

    /// Registers a definition that has its digest. A version is written once: its time is that of its first registration.
    pub(crate) async fn put(&self, definition: AgentDefinition) -> Result<AgentDefinition, Fault> {
        let key = version(&definition.name, &definition.digest);
        let definition = match self.agents.create(&key, &definition).await {
            Ok(_revision) => definition,
            Err(KvError::Conflict) => {
                self.agents.get(&key).await?.map_or(definition, |found| found.value)
            }
            Err(KvError::Fault(fault)) => return Err(fault),
        };
        let latest = latest(&definition.name);
        let found = self.agents.get(&latest).await?;
        if found.is_none_or(|found| found.value != definition) {
            self.agents.put(&latest, &definition).await?;
        }
        Ok(definition)
    }

    /// A version of an agent.
    pub(crate) async fn version(&self, name: &str, digest: &str) -> Result<AgentDefinition, Error> {
        let digest = digest.strip_prefix("sha256:").unwrap_or(digest);
        if is_name(name)
            && is_name(digest)
            && let Some(found) = self.agents.get(&version(name, digest)).await?
        {
            return Ok(found.value);
        }
        let known = self.versions(name).await?;
        let known: Vec<&str> =
            known.iter().take(LISTED).map(|found| found.digest.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let (name, digest) = (name.chars().take(80).collect(), digest.chars().take(80).collect());
        Err(Error::UnknownVersion { name, digest, known })
    }

    /// Every version of an agent, the newest first.
    pub(crate) async fn versions(&self, name: &str) -> Result<Vec<AgentDefinition>, Fault> {
        if !is_name(name) {
            return Ok(Vec::new());
        }
        let mut versions = Vec::new();
        for key in self.agents.keys(&version(name, "")).await? {
            versions.extend(self.agents.get(&key).await?.map(|found| found.value));
        }
        versions.sort_by_key(|found| std::cmp::Reverse(time(found.registered_at.as_ref())));
        Ok(versions)
    }

    /// Removes an agent; its versions stay.
    pub(crate) async fn delete(&self, name: &str) -> Result<AgentDefinition, Error> {
        let definition = self.get(name).await?;
        self.agents.delete(&latest(name)).await?;
        Ok(definition)
    }

    /// The agent of this name.
    pub(crate) async fn get(&self, name: &str) -> Result<AgentDefinition, Error> {
        if is_name(name)
            && let Some(found) = self.agents.get(&latest(name)).await?
        {
            return Ok(found.value);
        }
        let names = self.names().await?;
        let known = if names.is_empty() {
            "none".to_owned()
        } else {
            names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ")
        };
        Err(Error::UnknownAgent { name: name.chars().take(80).collect(), known })
    }

    /// The agents in the order of their names.
    pub(crate) async fn list(&self) -> Result<Vec<AgentDefinition>, Fault> {
        let mut agents = Vec::new();
        for name in self.names().await? {
            agents.extend(self.agents.get(&latest(&name)).await?.map(|found| found.value));
        }
        Ok(agents)
    }

    async fn names(&self) -> Result<Vec<String>, Fault> {
        let keys = self.agents.keys("agents/latest/").await?;
        Ok(keys.iter().filter_map(|key| key.rsplit('/').next()).map(str::to_owned).collect())
    }
}

/// Whether it can be a part of a key.
fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn version(name: &str, digest: &str) -> String {
    format!("agents/version/{name}/{digest}")
}

fn latest(name: &str) -> String {
    format!("agents/latest/{name}")
}
