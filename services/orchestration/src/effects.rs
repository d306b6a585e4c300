//! What the outside must do because of a journal entry, under ids that follow from it.

mod lifecycle;

use chrono::{DateTime, Utc};
use muster_bus::MessageId;
use muster_contracts::workflow::v1::{CallCancelled, TimerFired};
use muster_contracts::{now, subject};
use muster_workflow::{Effect, Execution, Fact, effects};

use crate::Error;
use crate::domain::child::Wanted;
use crate::domain::command::{Command, command};
use crate::executions::Executions;

/// Publishes the effects of the entry at `sequence`. A second time publishes nothing new.
pub(crate) async fn publish(
    executions: &Executions,
    execution: &Execution,
    sequence: u64,
    facts: &[Fact],
) -> Result<(), Error> {
    let effects = effects(facts);
    let publishing = effects.iter().enumerate().map(|(index, effect)| {
        let id = MessageId::derived([execution.id(), &sequence.to_string(), &index.to_string()]);
        one(executions, (execution, sequence), effect, id)
    });
    for result in futures::future::join_all(publishing).await {
        result?;
    }
    Ok(())
}

async fn one(
    executions: &Executions,
    (execution, sequence): (&Execution, u64),
    effect: &Effect,
    id: MessageId,
) -> Result<(), Error> {
    let bus = executions.bus();
    let published = match effect {
        Effect::Call { task, function, arguments } => {
            let secrets = &execution.definition().references().secrets;
            match command(execution, task, *function, (arguments, secrets)) {
                Command::Agent(command) => bus.publish(&*command, &id).await.map(drop),
                Command::Tool(command) => bus.publish(&command, &id).await.map(drop),
                Command::Call(command) => bus.publish(&command, &id).await.map(drop),
            }
        }
        // What is rare is on the heap: every effect would have room for it.
        Effect::StartChild { .. } | Effect::ResumeChild { .. } | Effect::CancelChild { .. } => {
            return Box::pin(child(executions, execution, effect, &id)).await;
        }
        Effect::Listen { task, interests } => {
            return Box::pin(executions.listen(execution, sequence, task, interests)).await;
        }
        Effect::StopListening { task, interests } => {
            return Box::pin(executions.stop_listening(execution.id(), task, interests)).await;
        }
        Effect::Emit { task, event } => {
            return Box::pin(executions.tell(execution, task, event)).await;
        }
        Effect::SetTimer { timer, at } => {
            let timer = timer_message(execution, timer, Some(*at));
            Box::pin(bus.schedule(&timer, *at, &id)).await
        }
        Effect::CancelTimer { timer } => {
            Box::pin(bus.cancel(&timer_message(execution, timer, None))).await
        }
        // The result of a call that ends before it hears this is ignored when it comes.
        Effect::CancelCall { task } => {
            let cancelled = CallCancelled {
                execution_id: execution.id().to_owned(),
                task: task.clone(),
                timestamp: now(Utc::now()),
            };
            bus.publish(&cancelled, &id).await.map(drop)
        }
        Effect::Started
        | Effect::Forked { .. }
        | Effect::Completed { .. }
        | Effect::Faulted { .. }
        | Effect::Cancelled { .. }
        | Effect::Suspended { .. }
        | Effect::Resumed
        | Effect::Retried
        | Effect::Waiting { .. } => lifecycle::tell(bus, execution, effect, &id).await,
    };
    published?;
    match effect {
        Effect::Completed { .. } | Effect::Faulted { .. } | Effect::Cancelled { .. } => {
            Box::pin(executions.schedules().ended(execution)).await
        }
        _ => Ok(()),
    }
}

/// What becomes of the workflows that tasks run.
async fn child(
    executions: &Executions,
    execution: &Execution,
    effect: &Effect,
    id: &MessageId,
) -> Result<(), Error> {
    match effect {
        Effect::StartChild { task, namespace, name, version, input, wait } => {
            let wanted = Wanted { task, namespace, name, version, input, wait: *wait };
            executions.start_child(execution, wanted, id).await
        }
        Effect::ResumeChild { task } => executions.resume_child(execution, task, id).await,
        Effect::CancelChild { task } => {
            executions.cancel_child(execution.id(), task, id.as_str()).await
        }
        _ => Ok(()),
    }
}

fn timer_message(execution: &Execution, timer: &str, at: Option<DateTime<Utc>>) -> TimerFired {
    TimerFired {
        execution_id: execution.id().to_owned(),
        timer_id: subject::derived_token(timer),
        timer: timer.to_owned(),
        fire_at: at.and_then(now),
    }
}
