//! What executions hear of the world, and what the world hears of them.

use muster_bus::MessageId;
use muster_contracts::JsonObject;
use muster_contracts::workflow::v1::{CloudEvent, DeliverEvent};
use muster_workflow::{Execution, Input, Interest};
use serde_json::Value;

use super::Executions;
use crate::Error;
use crate::domain::event::{emitted, structured};
use crate::listeners::{Listeners, Who};

impl Executions {
    /// Registers a task for events, and delivers those that came since its entry in the journal.
    ///
    /// First the index, then the look at the stream: an event that is stored before the look is
    /// found by it, and one that is stored later finds the index.
    pub(crate) async fn listen(
        &self,
        execution: &Execution,
        sequence: u64,
        task: &str,
        interests: &[Interest],
    ) -> Result<(), Error> {
        let execution_id = execution.id();
        let who = task_of(execution_id, task, sequence);
        Listeners::new(&self.bus).register(&who, interests).await?;
        let mut after = sequence;
        while let Some((position, event)) = self.bus.next_event::<CloudEvent>(after).await? {
            after = position;
            let event = structured(&event);
            if interests.iter().any(|interest| interest.covers(&event)) {
                self.deliver_later(execution_id, task, position, event).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn stop_listening(
        &self,
        execution_id: &str,
        task: &str,
        interests: &[Interest],
    ) -> Result<(), Error> {
        let who = task_of(execution_id, task, 0);
        Ok(Listeners::new(&self.bus).remove(&who, interests).await?)
    }

    /// An execution is busy while its effects are published, so that it cannot take an input.
    async fn deliver_later(
        &self,
        execution_id: &str,
        task: &str,
        position: u64,
        event: Value,
    ) -> Result<(), Error> {
        let id = input_id(task, &event);
        let command = DeliverEvent {
            execution_id: execution_id.to_owned(),
            task: task.to_owned(),
            position,
            event: Some(JsonObject::wrap(event)),
        };
        let id = MessageId::derived(["deliver", execution_id, id.as_str()]);
        self.bus.publish(&command, &id).await?;
        Ok(())
    }

    /// Gives an event to a task that listens. False where it listens no more.
    pub(crate) async fn hear(
        &self,
        execution_id: &str,
        task: &str,
        position: u64,
        event: &Value,
    ) -> Result<bool, Error> {
        let id = input_id(task, event);
        let input = Input::Event { task: Some(task.to_owned()), position, event: event.clone() };
        self.give(execution_id, id.as_str(), &input).await?;
        let slot = self.slot(execution_id);
        // What is in memory now was read after the event had come.
        if let Some(hot) = &slot.lock().await.hot {
            return Ok(hot.execution.is_listening(task));
        }
        self.look(execution_id, |found| found.is_some_and(|found| found.is_listening(task))).await
    }

    pub(crate) async fn tell(
        &self,
        execution: &Execution,
        task: &str,
        event: &Value,
    ) -> Result<(), Error> {
        let event = emitted(execution.id(), task, event);
        self.bus.publish(&event, &event_id(&event.source, &event.id)).await?;
        Ok(())
    }
}

/// The id of an event's message: its source and its id make it unique.
fn event_id(source: &str, id: &str) -> MessageId {
    MessageId::derived(["event", source, id])
}

/// The id of an event as an input of a task: however often it comes, it is taken once.
fn input_id(task: &str, event: &Value) -> MessageId {
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    MessageId::derived(["event", text("source"), text("id"), task])
}

fn task_of(execution_id: &str, task: &str, since: u64) -> Who {
    Who::Task { execution_id: execution_id.to_owned(), task: task.to_owned(), since }
}
