//! What a run that stands still waits for: news, the clock, or its cancellation.

use muster_bus::Delivery;
use muster_contracts::agent::v1::{AgentWakeFired, ContinueAgentRun};
use muster_contracts::time;
use muster_contracts::workflow::v1::CallCancelled;

use super::requested::go_on;
use crate::Error;
use crate::app::App;
use crate::runner::Runner;

/// Records the news, and goes on with the run where it stands still. Where a process is busy with it, that finds the news in the journal.
pub(crate) async fn continued(app: App, message: Delivery<ContinueAgentRun>) -> Result<(), Error> {
    let found = Runner::reopen(app.clone(), &message.execution_id, &message.task, &message.agent);
    let Some(mut runner) = found.await? else { return Ok(()) };
    runner.receive(&message).await?;
    let command = runner.command().clone();
    drop(runner);
    Box::pin(go_on(app, &message, command, &message.cause)).await
}

/// Looks at the clock.
pub(crate) async fn woken(app: App, timer: Delivery<AgentWakeFired>) -> Result<(), Error> {
    let found = Runner::reopen(app.clone(), &timer.execution_id, &timer.task, &timer.agent);
    let Some(mut runner) = found.await? else { return Ok(()) };
    let cause = format!("clock {}", time(timer.fire_at.as_ref()).timestamp_micros());
    runner.woken(&cause).await?;
    let command = runner.command().clone();
    drop(runner);
    Box::pin(go_on(app, &timer, command, &cause)).await
}

/// Ends a run that stands still: no process has it that could hear of the cancellation. One that a process is busy with ends as well, whoever is first.
pub(crate) async fn cancelled(app: App, event: Delivery<CallCancelled>) -> Result<(), Error> {
    // Whose task it is does not matter: the journal has the address of its task alone.
    let found = Runner::reopen(app, &event.execution_id, &event.task, ANY_AGENT);
    match found.await? {
        Some(runner) => runner.cancel().await,
        None => Ok(()),
    }
}

/// Until the journal says who it is.
const ANY_AGENT: &str = "unknown";
