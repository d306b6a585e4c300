//! The platform that the demo uses: its own, in this process, or one that runs already.

use std::{net::TcpListener, process::ExitCode};

use anyhow::{Context as _, Result};
use muster_runtime::{Env, Stop};
use tokio::task::JoinHandle;

/// A platform, and how to end it.
#[derive(Debug)]
pub(crate) struct Platform {
    base: String,
    stop: Stop,
    services: Option<JoinHandle<ExitCode>>,
}

impl Platform {
    /// One that runs already.
    pub(crate) fn at(server: &str) -> Self {
        Self { base: server.to_owned(), stop: Stop::default(), services: None }
    }

    /// All services in this process, with REST on a free loopback port and everything else as the environment says.
    pub(crate) fn start() -> Result<Self> {
        let address = free_address().context("there is no free loopback port")?;
        let mut env = Env::of_process().with("MUSTER_HTTP_ADDR", &address);
        if env.get("RUST_LOG").is_none() {
            // What happens is told by the demo itself.
            env = env.with("RUST_LOG", "error");
        }
        let stop = Stop::on_signals().context("signals cannot be heard")?;
        let services = tokio::spawn({
            let stop = stop.clone();
            async move { muster_runtime::run(crate::services(), &env, &stop).await }
        });
        Ok(Self { base: format!("http://{address}"), stop, services: Some(services) })
    }

    /// Address of the gateway.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Returns when the services have ended: true where somebody asked for it, false where one failed. Never, where they are not ours.
    pub(crate) async fn ended(&mut self) -> bool {
        match &mut self.services {
            Some(services) => {
                // A panic is told by the runtime.
                let code = services.await;
                self.services = None;
                code.is_ok_and(|code| code == ExitCode::SUCCESS)
            }
            None => std::future::pending().await,
        }
    }

    /// Waits until the services have ended after a stop.
    pub(crate) async fn stopped(mut self) {
        if self.services.is_some() {
            self.ended().await;
        }
    }
}

fn free_address() -> std::io::Result<String> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}
