//! Starting and stopping the workflows that tasks run.
//!
//! A child may begin and its parent may stop waiting at the same time. Whoever comes second sees
//! the other: a child that has begun asks whether it is still awaited, and a parent that has
//! stopped waiting looks for a child that has begun.

use muster_bus::MessageId;
use muster_contracts::workflow::v1::ParentTask;
use muster_workflow::{Execution, Input};
use tracing::warn;

use super::Executions;
use crate::Error;
use crate::definitions::Entry;
use crate::domain::child::{self, Wanted};

impl Executions {
    /// Starts a child under its own id; a second time starts nothing new.
    pub(crate) async fn start_child(
        &self,
        parent: &Execution,
        wanted: Wanted<'_>,
        id: &MessageId,
    ) -> Result<(), Error> {
        let entry = self.definitions.find(wanted.name, wanted.exact_version()).await?;
        let there = |entry: &Entry| ["", entry.namespace.as_str()].contains(&wanted.namespace);
        match entry.filter(there) {
            Some(entry) => self.bus.publish(&wanted.start(parent, entry), id).await?,
            None if wanted.wait => self.bus.publish(&wanted.unknown(parent), id).await?,
            None => {
                warn!(
                    execution = parent.id(),
                    task = wanted.task,
                    workflow = wanted.name,
                    version = wanted.version,
                    "a workflow that nobody waits for is not registered and was not started"
                );
                return Ok(());
            }
        };
        Ok(())
    }

    /// Cancels the child of a task that no longer waits, if it has begun.
    pub(crate) async fn cancel_child(&self, parent: &str, task: &str) -> Result<(), Error> {
        let child = child::child_id(parent, task);
        let id = MessageId::derived(["no-longer-awaited", &child]);
        let reason = format!("the task {task} of execution {parent} no longer waits for it");
        // A child whose effects cancel its own children comes back here, one level deeper.
        Box::pin(self.give(&child, id.as_str(), &Input::Cancel { reason })).await
    }

    /// Cancels a child that has begun when its parent was no longer waiting.
    pub(crate) async fn cancel_unless_awaited(&self, link: &ParentTask) -> Result<(), Error> {
        if link.detached || self.awaits_child(&link.execution_id, &link.task).await? {
            return Ok(());
        }
        self.cancel_child(&link.execution_id, &link.task).await
    }

    async fn awaits_child(&self, execution_id: &str, task: &str) -> Result<bool, Error> {
        let awaits =
            |execution: Option<&Execution>| execution.is_some_and(|it| it.awaits_child(task));
        self.look(execution_id, awaits).await
    }
}
