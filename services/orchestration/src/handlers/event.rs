//! Events, signals and schedules.

use futures::{StreamExt, TryStreamExt};
use muster_bus::Delivery;
use muster_contracts::workflow::v1::{CloudEvent, DeliverEvent, ScheduleFired, SignalExecution};
use muster_workflow::Input;
use serde_json::Value;

use crate::Error;
use crate::app::App;
use crate::domain::event::{signal, structured};
use crate::listeners::{Listener, Listeners, Who};

/// Listeners that get one event at the same time.
const AT_ONCE: usize = 64;

/// An event for everyone who waits for one like it.
pub(crate) async fn published(app: App, event: Delivery<CloudEvent>) -> Result<(), Error> {
    let listeners = Listeners::new(&app.bus);
    let (position, event) = (event.sequence, structured(&event.message));
    let those = listeners.of(&event).await?;
    futures::stream::iter(those)
        .map(|listener| one(&app, &listeners, listener, position, &event))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await
}

async fn one(
    app: &App,
    listeners: &Listeners,
    listener: Listener,
    position: u64,
    event: &Value,
) -> Result<(), Error> {
    let waits = match &listener.who {
        Who::Task { since, .. } if position <= *since => true,
        Who::Task { execution_id, task, .. } => {
            app.executions.hear(execution_id, task, position, event).await?
        }
        Who::Workflow { workflow, digest } => app.schedules.offer(workflow, digest, event).await?,
    };
    if !waits {
        // Its removal was lost, or came before it.
        listeners.remove(&listener.who, &[listener.interest]).await?;
    }
    Ok(())
}

/// An event that came while a task was being registered for it.
pub(crate) async fn delivered(app: App, command: Delivery<DeliverEvent>) -> Result<(), Error> {
    let event = command.event.clone().unwrap_or_default().into_value();
    let (execution_id, task) = (&command.execution_id, &command.task);
    app.executions.hear(execution_id, task, command.position, &event).await.map(drop)
}

/// An event for one execution.
pub(crate) async fn signalled(app: App, command: Delivery<SignalExecution>) -> Result<(), Error> {
    let SignalExecution { execution_id, signal: name, payload } = &command.message;
    // Its start may be handled by another process just now.
    if !app.executions.look(execution_id, |found| found.is_some()).await? {
        return Err(Error::NotBegun(execution_id.clone()));
    }
    let event = signal(execution_id, name, &command.id, payload.clone());
    let input = Input::Event { task: None, position: command.sequence, event };
    app.executions.give(execution_id, &command.id, &input).await
}

/// A workflow is due.
pub(crate) async fn due(app: App, event: Delivery<ScheduleFired>) -> Result<(), Error> {
    app.schedules.due(&event.message).await
}
