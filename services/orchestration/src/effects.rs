//! What the outside must do because of a journal entry, under ids that follow from it.

use chrono::{DateTime, Utc};
use muster_bus::{Bus, MessageId};
use muster_contracts::workflow::v1::{
    ExecutionCompleted, ExecutionFailed, ExecutionStarted, TimerFired,
};
use muster_contracts::{Fault, Json, JsonObject, now, subject};
use muster_workflow::{Effect, Execution, Fact, Status, effects};
use serde_json::json;

use crate::Error;
use crate::domain::command::{Command, command};
use crate::domain::state::{error_object, word};

/// Publishes the effects of the entry at `sequence`. A second time publishes nothing new.
pub(crate) async fn publish(
    bus: &Bus,
    execution: &Execution,
    sequence: u64,
    facts: &[Fact],
) -> Result<(), Error> {
    let effects = effects(facts);
    let publishing = effects.iter().enumerate().map(|(index, effect)| {
        let id = MessageId::derived([execution.id(), &sequence.to_string(), &index.to_string()]);
        one(bus, execution, effect, id)
    });
    for result in futures::future::join_all(publishing).await {
        result?;
    }
    Ok(())
}

async fn one(
    bus: &Bus,
    execution: &Execution,
    effect: &Effect,
    id: MessageId,
) -> Result<(), Fault> {
    match effect {
        Effect::Call { task, function, arguments } => {
            match command(execution.id(), task, *function, arguments) {
                Command::Agent(command) => bus.publish(&command, &id).await.map(drop),
                Command::Tool(command) => bus.publish(&command, &id).await.map(drop),
                Command::Call(command) => bus.publish(&command, &id).await.map(drop),
            }
        }
        Effect::SetTimer { timer, at } => {
            bus.schedule(&timer_message(execution, timer, Some(*at)), *at, &id).await
        }
        Effect::CancelTimer { timer } => bus.cancel(&timer_message(execution, timer, None)).await,
        // The result of a call that goes on is ignored when it comes.
        Effect::CancelCall { .. } => Ok(()),
        Effect::Started
        | Effect::Completed { .. }
        | Effect::Faulted { .. }
        | Effect::Cancelled { .. } => lifecycle(bus, execution, effect, &id).await,
    }
}

async fn lifecycle(
    bus: &Bus,
    execution: &Execution,
    effect: &Effect,
    id: &MessageId,
) -> Result<(), Fault> {
    let definition = execution.definition();
    let (execution_id, workflow, version) =
        (execution.id().to_owned(), definition.name().to_owned(), definition.version().to_owned());
    let timestamp = now(Utc::now());
    let failed = |status: Status, error: JsonObject| ExecutionFailed {
        execution_id: execution_id.clone(),
        workflow: workflow.clone(),
        version: version.clone(),
        status: word(&status),
        error: Some(error),
        timestamp,
    };
    let published = match effect {
        Effect::Completed { output } => {
            let event = ExecutionCompleted {
                execution_id,
                workflow,
                version,
                status: word(&Status::Completed),
                output: Some(Json(output.clone())),
                timestamp,
            };
            bus.publish(&event, id).await
        }
        Effect::Faulted { error } => {
            bus.publish(&failed(Status::Faulted, error_object(error)), id).await
        }
        Effect::Cancelled { reason } => {
            bus.publish(
                &failed(
                    Status::Cancelled,
                    JsonObject::wrap(json!({ "title": "Cancelled", "detail": reason })),
                ),
                id,
            )
            .await
        }
        _ => {
            bus.publish(
                &ExecutionStarted {
                    execution_id,
                    workflow,
                    version,
                    status: word(&Status::Running),
                    timestamp,
                },
                id,
            )
            .await
        }
    };
    published.map(drop)
}

fn timer_message(execution: &Execution, timer: &str, at: Option<DateTime<Utc>>) -> TimerFired {
    TimerFired {
        execution_id: execution.id().to_owned(),
        timer_id: subject::derived_token(timer),
        timer: timer.to_owned(),
        fire_at: at.and_then(now),
    }
}
