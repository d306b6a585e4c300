//! Runs an agent, from where its journal ends.

use muster_bus::Delivery;
use muster_contracts::agent::v1::AgentExecutionRequested;
use muster_contracts::{Code, HasCode, OnEvent};
use tracing::error;

use crate::Error;
use crate::app::App;
use crate::presence::Visit;
use crate::runner::{self, Runner};
use crate::work::root_task;

/// Deliveries of a run after which an internal error is taken for a lasting one.
const INTERNAL_DELIVERIES: u32 = 8;

pub(crate) async fn run(app: App, command: Delivery<AgentExecutionRequested>) -> Result<(), Error> {
    Box::pin(go_on(app, &command, command.message.clone(), "")).await
}

/// Goes on with a run, as the message with this cause, until it is over or stands still.
pub(super) async fn go_on<M: Sync>(
    app: App,
    delivery: &Delivery<M>,
    command: AgentExecutionRequested,
    cause: &str,
) -> Result<(), Error> {
    let shutdown = app.shutdown.clone();
    let root = root_task(&command.task, command.origin.as_ref());
    let call = app.calls.begin_delivered(delivery, &command.execution_id, &root).await?;
    let (cancelled, again) = (app.clone(), command.clone());
    let visit = app.presence.visit(&command.agent, &command.execution_id, &command.task);
    let result = tokio::select! {
        biased;
        // Its questions to the model and its tools are dropped; they hear of it themselves.
        () = call.cancelled() => Runner::open(cancelled, again).await?.cancel().await,
        result = run_or_fail(app, command, (cause, &visit), delivery.attempt) => result,
        // Another replica goes on at once, instead of after the end of a long run here.
        () = shutdown.cancelled() => Err(Error::Stopping),
    };
    visit.end().await;
    result
}

/// A task that waits for a run must hear of its end, whatever it is: a dead letter would leave it waiting for ever.
async fn run_or_fail(
    app: App,
    command: AgentExecutionRequested,
    (cause, visit): (&str, &Visit),
    attempt: u32,
) -> Result<(), Error> {
    let result = async {
        Box::pin(Runner::open(app.clone(), command.clone()).await?.run(cause, visit)).await
    };
    let result = Box::pin(result).await;
    match result {
        Err(error) if is_lasting(&error, attempt) => {
            error!(execution = command.execution_id, agent = command.agent, attempt, %error, "run cannot go on");
            runner::tell_broken(&app, &command, &error).await
        }
        result => result,
    }
}

fn is_lasting(error: &Error, attempt: u32) -> bool {
    match error.code() {
        Code::Internal => attempt >= INTERNAL_DELIVERIES,
        code => code.on_event() == OnEvent::DeadLetter,
    }
}
