//! Events that start a workflow, where it takes several of them.

use muster_bus::{Bucket, KvError, MessageId};
use muster_workflow::{Gathered, Schedule, Trigger};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::warn;

use super::Schedules;
use crate::Error;
use crate::definitions::Entry;
use crate::domain::due::execution_by;

/// How often a change may lose against other replicas before the event waits for its redelivery.
const TRIES: u32 = 16;
/// Ids of events that have had their turn are known for so many events.
const KNOWN: usize = 1_000;
/// Events that wait for others, at most.
const EVENTS: usize = 1_000;
/// Bytes of these events together: they are one value of the bucket.
const BYTES: usize = 512 * 1024;

/// What has come for a workflow so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Gathering {
    /// Sets of events that wait for others, the oldest first.
    open: Vec<Vec<Value>>,
    /// Ids of events that have been used up.
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
            let changed = gathering.take(&entry.name, trigger, event);
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
    fn take(&mut self, workflow: &str, trigger: Trigger<'_>, event: &Value) -> bool {
        let id = id_of(event);
        let is_known = self.open.iter().flatten().any(|known| id_of(known) == id);
        if is_known || self.known.contains(&id) {
            return false;
        }
        let (input, events) = match trigger.gather(&mut self.open, event) {
            Gathered::Unwanted => return false,
            Gathered::Waiting => {
                self.bound(workflow);
                return true;
            }
            Gathered::Complete { input, events } => (input, events),
        };
        self.known.extend(events.iter().map(id_of));
        let old = self.known.len().saturating_sub(KNOWN);
        self.known.drain(..old);
        let execution_id = execution_by(workflow, &id);
        self.due.push(Due { execution_id, input: Value::Array(input) });
        true
    }

    /// Gives up the oldest events that nothing has come to, where there are too many.
    fn bound(&mut self, workflow: &str) {
        let size = |set: &Vec<Value>| set.iter().map(|event| event.to_string().len()).sum();
        let sizes: Vec<usize> = self.open.iter().map(size).collect();
        let (mut bytes, mut events) =
            (sizes.iter().sum::<usize>(), self.open.iter().map(Vec::len).sum::<usize>());
        for size in sizes {
            if bytes <= BYTES && events <= EVENTS {
                return;
            }
            let given_up = self.open.remove(0);
            (bytes, events) = (bytes - size, events - given_up.len());
            warn!(
                workflow,
                events = given_up.len(),
                "events that others were missing to are given up"
            );
        }
    }
}

/// What makes an event unique.
fn id_of(event: &Value) -> String {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    MessageId::derived(["event", text("source"), text("id")]).as_str().to_owned()
}
