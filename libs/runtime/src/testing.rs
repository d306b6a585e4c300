//! Services inside a test's process, each with its own connection, as in production.

use std::process::ExitCode;

use tokio::task::JoinHandle;

use crate::{Env, Service, Stop, run};

/// Services that run until they are stopped or dropped.
pub struct Running {
    stop: Stop,
    task: Option<JoinHandle<ExitCode>>,
}

/// Starts services with these settings and no others.
#[must_use]
pub fn start<S, N, V>(services: S, settings: &[(N, V)]) -> Running
where
    S: IntoIterator<Item = Service>,
    N: AsRef<str>,
    V: AsRef<str>,
{
    let quiet = [("RUST_LOG", "error"), ("MUSTER_LOG_FORMAT", "text")];
    let env: Env = quiet
        .into_iter()
        .chain(settings.iter().map(|(name, value)| (name.as_ref(), value.as_ref())))
        .collect();
    let services: Vec<Service> = services.into_iter().collect();
    let stop = Stop::default();
    let task = tokio::spawn({
        let stop = stop.clone();
        async move { run(services, &env, &stop).await }
    });
    Running { stop, task: Some(task) }
}

impl Running {
    /// Stops the services as SIGTERM does, and waits for their end. True where the exit code is 0.
    pub async fn stop(mut self) -> bool {
        self.stop.now();
        match self.task.take() {
            Some(task) => task.await.is_ok_and(|code| code == ExitCode::SUCCESS),
            None => false,
        }
    }

    /// Ends the services in the middle of whatever they do, as a crash does.
    pub fn crash(mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.now();
    }
}
