//! Plays orchestration: it knows which tasks were cancelled.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use muster_bus::{Bus, Routes};
use muster_contracts::Fault;
use muster_contracts::workflow::v1::{CallState, GetCallRequest};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The tasks whose answer nobody wants.
#[derive(Clone, Default)]
pub(crate) struct Unwanted(Arc<Mutex<BTreeSet<String>>>);

impl Unwanted {
    pub(crate) fn add(&self, task: &str) {
        self.0.lock().unwrap().insert(task.to_owned());
    }

    /// Answers for as long as the guard is there.
    pub(crate) fn serve(&self, bus: &Bus) -> DropGuard {
        let (stop, bus) = (CancellationToken::new(), bus.clone());
        let routes = Routes::new(self.clone()).rpc(wanted);
        let serving = stop.clone();
        tokio::spawn(async move { routes.serve(&bus, serving).await });
        stop.drop_guard()
    }
}

async fn wanted(unwanted: Unwanted, request: GetCallRequest) -> Result<CallState, Fault> {
    Ok(CallState { wanted: !unwanted.0.lock().unwrap().contains(&request.task) })
}
