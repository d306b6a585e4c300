//! How the agents of this process are: idle, running or error.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::Utc;
use muster_bus::{Bus, MessageId};
use muster_contracts::agent::v1::AgentStatus;
use muster_contracts::now;
use tracing::debug;

/// Who runs here. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Presence {
    bus: Bus,
    agents: Arc<Mutex<HashMap<String, Runs>>>,
}

/// One run in this process.
pub(crate) struct Visit {
    presence: Presence,
    agent: String,
    begun: AtomicBool,
}

#[derive(Default)]
struct Runs {
    count: usize,
    failed: bool,
}

impl Presence {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { bus: bus.clone(), agents: Arc::default() }
    }

    /// A run of the agent that may begin or go on here.
    pub(crate) fn visit(&self, agent: &str) -> Visit {
        Visit { presence: self.clone(), agent: agent.to_owned(), begun: AtomicBool::new(false) }
    }

    async fn begin(&self, agent: &str) {
        let is_first = {
            let mut agents = self.agents();
            let runs = agents.entry(agent.to_owned()).or_default();
            runs.count += 1;
            runs.count == 1
        };
        if is_first {
            self.tell(agent, "running").await;
        }
    }

    /// A run of the agent has failed.
    pub(crate) fn failed(&self, agent: &str) {
        if let Some(runs) = self.agents().get_mut(agent) {
            runs.failed = true;
        }
    }

    async fn end(&self, agent: &str) {
        let last = {
            let mut agents = self.agents();
            let Some(runs) = agents.get_mut(agent) else { return };
            runs.count = runs.count.saturating_sub(1);
            if runs.count == 0 { agents.remove(agent) } else { None }
        };
        if let Some(runs) = last {
            self.tell(agent, if runs.failed { "error" } else { "idle" }).await;
        }
    }

    /// A status that is lost is no reason to fail a run.
    async fn tell(&self, agent: &str, status: &str) {
        let event = AgentStatus {
            agent_id: agent.to_owned(),
            status: status.to_owned(),
            timestamp: now(Utc::now()),
            ..AgentStatus::default()
        };
        if let Err(error) = self.bus.publish(&event, &MessageId::random()).await {
            debug!(agent, %error, "status was not told");
        }
    }

    fn agents(&self) -> MutexGuard<'_, HashMap<String, Runs>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Visit {
    /// The run begins or goes on. Programs on the bus say themselves how they are: for them it is not called.
    pub(crate) async fn begin(&self) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            self.presence.begin(&self.agent).await;
        }
    }

    /// The run is over or stands still.
    pub(crate) async fn end(self) {
        if self.begun.into_inner() {
            self.presence.end(&self.agent).await;
        }
    }
}
