//! What the world is told of an execution: that it began, how it stands, how it ended.

use chrono::Utc;
use muster_bus::{Bus, MessageId};
use muster_contracts::workflow::v1::{
    ExecutionCancelled, ExecutionFailed, ExecutionForked, ExecutionResumed, ExecutionRetried,
    ExecutionStarted, ExecutionSuspended, ExecutionWaiting,
};
use muster_contracts::{Event, Fault, now};
use muster_workflow::{Effect, Execution, Status};

use crate::domain::child;
use crate::domain::state::{completed, error_object, word};

/// Publishes the event that belongs to the effect; of a child's end also the answer for its parent.
pub(super) async fn tell(
    bus: &Bus,
    execution: &Execution,
    effect: &Effect,
    id: &MessageId,
) -> Result<(), Fault> {
    stand(bus, execution, effect, id).await?;
    if let Some(answer) = child::told(execution, effect) {
        bus.publish(&answer, &MessageId::derived([id.as_str(), "parent"])).await?;
    }
    Ok(())
}

/// An event with the fields that all of them have.
macro_rules! event {
    ($event:ident, $execution:expr, $status:expr, {$($field:ident),*}) => {{
        let definition = $execution.definition();
        $event {
            execution_id: $execution.id().to_owned(),
            workflow: definition.name().to_owned(),
            version: definition.version().to_owned(),
            status: word(&$status),
            timestamp: now(Utc::now()),
            $($field),*
        }
    }};
}

async fn stand(
    bus: &Bus,
    execution: &Execution,
    effect: &Effect,
    id: &MessageId,
) -> Result<(), Fault> {
    match effect {
        Effect::Started => {
            let tenant = execution.payer().map(|payer| payer.tenant.clone()).unwrap_or_default();
            send(bus, event!(ExecutionStarted, execution, Status::Running, { tenant }), id).await
        }
        Effect::Forked { origin, position } => {
            let (origin, position) = (origin.clone(), *position);
            let status = execution.status();
            let event = event!(ExecutionForked, execution, status, {origin, position});
            send(bus, event, id).await
        }
        Effect::Suspended { reason } => {
            let reason = reason.clone();
            send(bus, event!(ExecutionSuspended, execution, Status::Suspended, { reason }), id)
                .await
        }
        Effect::Waiting { task } => {
            let task = task.clone();
            send(bus, event!(ExecutionWaiting, execution, Status::Waiting, { task }), id).await
        }
        Effect::Resumed => {
            send(bus, event!(ExecutionResumed, execution, Status::Running, {}), id).await
        }
        Effect::Retried => {
            send(bus, event!(ExecutionRetried, execution, Status::Running, {}), id).await
        }
        _ => end(bus, execution, effect, id).await,
    }
}

async fn end(
    bus: &Bus,
    execution: &Execution,
    effect: &Effect,
    id: &MessageId,
) -> Result<(), Fault> {
    match effect {
        Effect::Completed { output } => {
            send(bus, completed(execution, output, Utc::now()), id).await
        }
        Effect::Faulted { error } => {
            let error = Some(error_object(error));
            send(bus, event!(ExecutionFailed, execution, Status::Faulted, { error }), id).await
        }
        Effect::Cancelled { reason } => {
            let reason = reason.clone();
            send(bus, event!(ExecutionCancelled, execution, Status::Cancelled, { reason }), id)
                .await
        }
        _ => Ok(()),
    }
}

async fn send<E: Event>(bus: &Bus, event: E, id: &MessageId) -> Result<(), Fault> {
    bus.publish(&event, id).await.map(drop)
}
