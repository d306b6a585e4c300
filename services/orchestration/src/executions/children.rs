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

    /// Lets the child of a task go on that goes on itself; one that has ended well meanwhile tells its end once more.
    pub(crate) async fn resume_child(
        &self,
        parent: &Execution,
        task: &str,
        id: &MessageId,
    ) -> Result<(), Error> {
        let child = child::child_id(parent.id(), task);
        // Its children are asked first, and their children when it goes on: one level deeper each.
        let input = Box::pin(self.retry_of(&child, true)).await?;
        if Box::pin(self.publish_of(&child, id.as_str())).await? {
            return Ok(());
        }
        let answer = self
            .look(&child, |found| match found {
                None => Some(child::gone(parent.id(), task, &child)),
                Some(found) => child::told_again(found),
            })
            .await?;
        match answer {
            Some(answer) => {
                let id = MessageId::derived(["told-again", id.as_str()]);
                self.bus.publish(&answer, &id).await?;
                Ok(())
            }
            None => Box::pin(self.give(&child, id.as_str(), &input)).await,
        }
    }

    /// What lets a faulted execution go on: with those of the workflows that its tasks ran that can go on as well.
    pub(crate) async fn retry_of(
        &self,
        execution_id: &str,
        is_child: bool,
    ) -> Result<Input, Error> {
        let stopped =
            |found: Option<&Execution>| found.map(Execution::stopped_children).unwrap_or_default();
        let stopped = self.look(execution_id, stopped).await?;
        let cannot = stopped.into_iter().map(async |task| {
            let child = child::child_id(execution_id, &task);
            let goes_on = |found: Option<&Execution>| found.is_some_and(child::goes_on);
            Ok::<_, Error>((!self.look(&child, goes_on).await?).then_some(task))
        });
        let anew = futures::future::try_join_all(cannot).await?.into_iter().flatten().collect();
        Ok(Input::RetryWith { anew, is_child })
    }

    /// Cancels the child of a task that no longer waits, if it has begun. `why` is what led to it: a child may be cancelled, go on, and be cancelled again.
    pub(crate) async fn cancel_child(
        &self,
        parent: &str,
        task: &str,
        why: &str,
    ) -> Result<(), Error> {
        let child = child::child_id(parent, task);
        let id = MessageId::derived(["no-longer-awaited", &child, why]);
        let reason = format!("the task {task} of execution {parent} no longer waits for it");
        // A child whose effects cancel its own children comes back here, one level deeper.
        Box::pin(self.give(&child, id.as_str(), &Input::Cancel { reason })).await
    }

    /// Cancels a child that has begun when its parent was no longer waiting.
    pub(crate) async fn cancel_unless_awaited(&self, link: &ParentTask) -> Result<(), Error> {
        if link.detached || self.awaits_child(&link.execution_id, &link.task).await? {
            return Ok(());
        }
        self.cancel_child(&link.execution_id, &link.task, "start").await
    }

    async fn awaits_child(&self, execution_id: &str, task: &str) -> Result<bool, Error> {
        let awaits =
            |execution: Option<&Execution>| execution.is_some_and(|it| it.awaits_child(task));
        self.look(execution_id, awaits).await
    }
}
