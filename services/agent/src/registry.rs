//! Registered agents: the latest of each name, and every version by its digest.

use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::Fault;
use muster_contracts::agent::v1::AgentDefinition;

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

    /// Registers a definition that has its digest.
    pub(crate) async fn put(&self, definition: &AgentDefinition) -> Result<(), Fault> {
        self.agents
            .put(&format!("agents/version/{}/{}", definition.name, definition.digest), definition)
            .await?;
        self.agents.put(&latest(&definition.name), definition).await.map(drop)
    }

    /// The agent of this name.
    pub(crate) async fn get(&self, name: &str) -> Result<AgentDefinition, Error> {
        let well_formed = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if well_formed && let Some(found) = self.agents.get(&latest(name)).await? {
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

fn latest(name: &str) -> String {
    format!("agents/latest/{name}")
}
