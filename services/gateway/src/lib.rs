#![doc = include_str!("../README.md")]

mod app;
mod auth;
mod body;
mod config;
mod controllers;
mod domain;
mod error;
mod fresh;
mod listen;
mod live;
mod patient;
mod problem;
mod query;
mod routes;
mod server;
mod trace;
mod waits;
pub mod wire;

use anyhow::Context as _;
use muster_runtime::{Context, Service};
use tokio::net::TcpListener;
use tracing::info;

pub use auth::{Access, access};
pub use problem::Problem;
pub use routes::openapi;

use crate::auth::{Audit, tell_audit};
use crate::controllers::openai::{Abandoned, tell_abandoned};
use crate::{app::App, config::Config, server::Patience};

/// The gateway service.
///
/// It starts without the bus: clients are told that the platform is not ready, and by which name.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("gateway", Config::from_env, run).starts_without_bus()
}

async fn run(cx: Context, config: Config) -> anyhow::Result<()> {
    let (abandoned, sessions) = Abandoned::new();
    let (audit, events) = Audit::new();
    let app = App::new(&cx, &config, (abandoned, audit));
    let listener = TcpListener::bind(config.http_addr)
        .await
        .with_context(|| format!("cannot listen on {} (MUSTER_HTTP_ADDR)", config.http_addr))?;
    info!(address = %listener.local_addr()?, "REST listens");
    cx.spawn(listen::listen(app.clone()));
    cx.spawn(tell_abandoned(cx.bus.clone(), sessions));
    cx.spawn(tell_audit(cx.bus.clone(), events));
    let patience = Patience { head: config.head_time, stall: config.stall_time };
    server::serve(listener, routes::router(app), patience, cx.shutdown.clone()).await;
    Ok(())
}
