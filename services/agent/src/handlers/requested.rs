//! Runs an agent, from where its journal ends.

use muster_bus::Delivery;
use muster_contracts::agent::v1::AgentExecutionRequested;

use crate::Error;
use crate::app::App;
use crate::runner::Runner;

pub(crate) async fn run(app: App, command: Delivery<AgentExecutionRequested>) -> Result<(), Error> {
    let shutdown = app.shutdown.clone();
    tokio::select! {
        result = async { Runner::open(app, command.message).await?.run().await } => result,
        // Another replica goes on at once, instead of after the end of a long run here.
        () = shutdown.cancelled() => Err(Error::Stopping),
    }
}
