//! Events that start a workflow, where it takes several of them.

use muster_bus::{Bucket, KvError, MessageId};
use muster_workflow::{Schedule, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Schedules;
use crate::Error;
use crate::definitions::Entry;
use crate::domain::due::execution_by;

/// How often a change may lose against other replicas before the event waits for its redelivery.
const TRIES: u32 = 16;
/// Ids of events that have had their turn are known for so many events.
const KNOWN: usize = 1_000;
/// Events that one execution starts with, at most.
const EVENTS: usize = 1_000;
/// Bytes of these events together: they are one value of the bucket.
const BYTES: usize = 512 * 1024;

/// What has come for a workflow so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Gathering {
    /// Events of the execution that is to start next.
    events: Vec<Value>,
    /// Ids of events that were taken before these.
    known: Vec<String>,
    /// Executions that are to start: they stay here until their commands are published.
    due: Vec<Due>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Due {
    execution_id: String,
    input: Value,
}

impl Schedules {
    /// Offers an event to a workflow that events start. False where its version is no longer the last.
    pub(crate) async fn offer(
        &self,
        workflow: &str,
        digest: &str,
        event: &Value,
    ) -> Result<bool, Error> {
        let Some(entry) = self.current(workflow, digest).await? else { return Ok(false) };
        let definition = self.definitions.load(digest).await?;
        let Some(Schedule::Events(trigger)) = definition.schedule() else { return Ok(false) };
        if !trigger.is_single() {
            self.gather(&entry, trigger, event).await?;
        } else if trigger.wants(event) {
            let execution_id = execution_by(workflow, &id_of(event));
            self.start(&entry, &execution_id, Value::Array(vec![event.clone()])).await?;
        }
        Ok(true)
    }

    async fn gather(
        &self,
        entry: &Entry,
        trigger: Trigger<'_>,
        event: &Value,
    ) -> Result<(), Error> {
        let keys = self.bus.kv::<Gathering>(Bucket::Listeners);
        let key = format!("gathering/{}", entry.digest);
        for _ in 0..TRIES {
            let found = keys.get(&key).await?;
            let revision = found.as_ref().map(|found| found.revision);
            let mut gathering = found.map(|found| found.value).unwrap_or_default();
            let changed = gathering.take(&entry.name, trigger, event)?;
            let written = match revision {
                _ if !changed => Ok(revision.unwrap_or_default()),
                Some(revision) => keys.update(&key, &gathering, revision).await,
                None => keys.create(&key, &gathering).await,
            };
            let revision = match written {
                Ok(revision) => revision,
                Err(KvError::Conflict) => continue,
                Err(KvError::Fault(fault)) => return Err(fault.into()),
            };
            if gathering.due.is_empty() {
                return Ok(());
            }
            for due in &gathering.due {
                self.start(entry, &due.execution_id, due.input.clone()).await?;
            }
            gathering.due.clear();
            // Where another replica was faster, it published the same commands.
            return match keys.update(&key, &gathering, revision).await {
                Ok(_) | Err(KvError::Conflict) => Ok(()),
                Err(KvError::Fault(fault)) => Err(fault.into()),
            };
        }
        Err(Error::Busy(entry.name.clone()))
    }
}

impl Gathering {
    /// Takes an event, if it is wanted; true where that changed anything.
    fn take(&mut self, workflow: &str, trigger: Trigger<'_>, event: &Value) -> Result<bool, Error> {
        let id = id_of(event);
        if self.known.contains(&id) || self.events.iter().any(|known| id_of(known) == id) {
            return Ok(false);
        }
        let Some(gathered) = trigger.gather(&self.events, event) else { return Ok(false) };
        self.events.push(event.clone());
        let Some(input) = gathered.input else {
            let bytes = self.events.iter().map(|event| event.to_string().len()).sum::<usize>();
            if bytes > BYTES || self.events.len() > EVENTS {
                return Err(Error::TooManyEvents { workflow: workflow.to_owned(), bytes });
            }
            return Ok(true);
        };
        self.known.extend(self.events.drain(..).map(|event| id_of(&event)));
        let old = self.known.len().saturating_sub(KNOWN);
        self.known.drain(..old);
        let execution_id = execution_by(workflow, &id);
        self.due.push(Due { execution_id, input: Value::Array(input) });
        Ok(true)
    }
}

/// What makes an event unique.
fn id_of(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    MessageId::derived(["event", text("source"), text("id")]).as_str().to_owned()
}
