//! What runs wait for and what waits for agents, for those who ask: approvals, tasks, messages, and how each agent is. What a run does is decided by its journal alone.

use muster_bus::{Bucket, Bus, Kv, KvError};
use muster_contracts::agent::v1::{
    AgentExecutionRequested, AgentMessage, AgentStatus, AgentTask, Approval, RunOrigin,
};
use muster_contracts::{Code, Fault, subject, time};
use serde::{Deserialize, Serialize};
use tracing::warn;

/// Messages that one look into an inbox tells.
const READ_AT_ONCE: usize = 32;
/// Messages that one look into an inbox opens at most: those that cannot be read stay for as long as their key may come back.
const LOOKED_AT: usize = 128;

/// The records. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Work {
    approvals: Kv<Approval>,
    tasks: Kv<Task>,
    inboxes: Kv<AgentMessage>,
    statuses: Kv<AgentStatus>,
}

/// A task of an agent.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Task {
    /// What came of it until now.
    pub(crate) told: AgentTask,
    /// The run that waits for it, where one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Waiting>,
}

/// A run that waits for a task.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Waiting {
    pub(crate) execution_id: String,
    pub(crate) task: String,
    pub(crate) agent: String,
}

/// A message in an inbox.
pub(crate) struct Letter {
    pub(crate) key: String,
    /// The message, or why it cannot be read.
    pub(crate) message: Result<AgentMessage, Fault>,
}

impl Letter {
    /// Whether it was read once and for all: not where the key that opens it may be back later.
    pub(crate) fn is_done(&self) -> bool {
        !matches!(&self.message, Err(reason) if reason.code == Code::Unavailable)
    }
}

impl Work {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self {
            approvals: bus.kv(Bucket::Work),
            tasks: bus.kv(Bucket::Work),
            inboxes: bus.kv_sealed(Bucket::Work),
            statuses: bus.kv(Bucket::Work),
        }
    }

    pub(crate) async fn approval(&self, id: &str) -> Result<Option<Approval>, Fault> {
        let found = self.approvals.get(&format!("approvals/{}", key(id))).await?;
        Ok(found.map(|found| found.value))
    }

    pub(crate) async fn put_approval(&self, approval: &Approval) -> Result<(), Fault> {
        let key = format!("approvals/{}", key(&approval.approval_id));
        self.approvals.put(&key, approval).await.map(drop)
    }

    /// Those that fit, the newest first.
    pub(crate) async fn approvals(
        &self,
        fits: impl Fn(&Approval) -> bool,
    ) -> Result<Vec<Approval>, Fault> {
        let mut found = Vec::new();
        for key in self.approvals.keys("approvals/").await? {
            found.extend(self.approvals.get(&key).await?.map(|found| found.value).filter(&fits));
        }
        found.sort_by_key(|approval| std::cmp::Reverse(time(approval.requested_at.as_ref())));
        Ok(found)
    }

    pub(crate) async fn task(&self, id: &str) -> Result<Option<Task>, Fault> {
        Ok(self.tasks.get(&task_key(id)).await?.map(|found| found.value))
    }

    /// Writes down a task that is new. What is known of it stays.
    pub(crate) async fn add_task(&self, task: &Task) -> Result<(), Fault> {
        match self.tasks.create(&task_key(&task.told.task_id), task).await {
            Ok(_) | Err(KvError::Conflict) => Ok(()),
            Err(KvError::Fault(fault)) => Err(fault),
        }
    }

    /// Writes down how a task ended. The first end holds.
    pub(crate) async fn end_task(&self, ended: AgentTask) -> Result<Task, Fault> {
        let key = task_key(&ended.task_id);
        loop {
            let found = self.tasks.get(&key).await?;
            let revision = found.as_ref().map(|found| found.revision);
            let known = found.map(|found| found.value).unwrap_or_default();
            if known.told.status != "running" && !known.told.status.is_empty() {
                return Ok(known);
            }
            let task = Task { told: ended.clone(), ..known };
            let written = match revision {
                Some(revision) => self.tasks.update(&key, &task, revision).await,
                None => self.tasks.create(&key, &task).await,
            };
            match written {
                Ok(_) => return Ok(task),
                Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault),
            }
        }
    }

    /// Lays a message into an inbox, behind those that came `order`ed before it. `id` is the message's: a second delivery changes nothing.
    pub(crate) async fn deliver(
        &self,
        agent: &str,
        order: &str,
        id: &str,
        message: &AgentMessage,
    ) -> Result<(), Fault> {
        let key = format!("inbox/{}/{order}-{}", key(agent), key(id));
        match self.inboxes.create(&key, message).await {
            Ok(_) | Err(KvError::Conflict) => Ok(()),
            Err(KvError::Fault(fault)) => Err(fault),
        }
    }

    /// The oldest messages of an inbox. One that cannot be read holds up none of the others.
    pub(crate) async fn inbox(&self, agent: &str) -> Result<Vec<Letter>, Fault> {
        let keys = self.inboxes.keys(&format!("inbox/{}/", key(agent))).await?;
        let mut letters = Vec::new();
        let mut readable = 0;
        for key in keys.into_iter().take(LOOKED_AT) {
            let Some(found) = self.inboxes.get_or_reason(&key).await? else { continue };
            if let Err(reason) = &found {
                warn!(key, %reason, "a message in an inbox cannot be read");
            }
            readable += usize::from(found.is_ok());
            letters.push(Letter { key, message: found.map(|found| found.value) });
            if readable == READ_AT_ONCE {
                break;
            }
        }
        Ok(letters)
    }

    /// Takes messages out of their inbox.
    pub(crate) async fn forget(&self, keys: &[String]) -> Result<(), Fault> {
        for key in keys {
            self.inboxes.delete(key).await?;
        }
        Ok(())
    }

    pub(crate) async fn status(&self, agent: &str) -> Result<Option<AgentStatus>, Fault> {
        let found = self.statuses.get(&format!("presence/{}", key(agent))).await?;
        Ok(found.map(|found| found.value))
    }

    /// Writes down how an agent is, unless something newer is known.
    pub(crate) async fn put_status(&self, status: &AgentStatus) -> Result<(), Fault> {
        let known = self.status(&status.agent_id).await?;
        let newer = known
            .is_some_and(|known| time(known.timestamp.as_ref()) > time(status.timestamp.as_ref()));
        if newer {
            return Ok(());
        }
        let key = format!("presence/{}", key(&status.agent_id));
        self.statuses.put(&key, status).await.map(drop)
    }
}

/// What is needed to open a run that has begun.
pub(crate) fn command(execution_id: &str, task: &str, agent: &str) -> AgentExecutionRequested {
    AgentExecutionRequested {
        execution_id: execution_id.to_owned(),
        task: task.to_owned(),
        agent: agent.to_owned(),
        ..Default::default()
    }
}

/// The task of the workflow in whose name a run is.
pub(crate) fn root_task(task: &str, origin: Option<&RunOrigin>) -> String {
    let root = origin.map(|origin| origin.root_task.as_str()).filter(|root| !root.is_empty());
    root.unwrap_or(task).to_owned()
}

/// A part of a key, whatever the text is.
pub(crate) fn key(text: &str) -> String {
    let plain = !text.is_empty()
        && text.len() <= 63
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if plain { text.to_owned() } else { subject::derived_token(text) }
}

fn task_key(id: &str) -> String {
    format!("tasks/{}", key(id))
}
