#![doc = include_str!("../README.md")]

mod app;
mod config;
mod domain;
mod error;
mod handlers;
mod memory;
mod presence;
mod registry;
mod routes;
mod runner;
mod shown;
mod threads;
mod tokenizer;
mod work;

pub use domain::thread::Refusal;
pub use error::Error;
use std::time::Duration;

use muster_runtime::{Context, Service};

/// How long a service that stops may take to say that its agents rest.
const LEAVE: Duration = Duration::from_secs(2);

/// The service for [`muster_runtime::main`].
#[must_use]
pub fn service() -> Service {
    Service::with_settings("agent", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    let app = app::App::new(cx.bus.clone(), cx.shutdown.clone());
    cx.spawn(app.calls.clone().listen());
    cx.spawn(app.presence.clone().keep());
    let presence = app.presence.clone();
    let served = cx.serve(routes::routes(app, &config)).await;
    // Where the broker is away, its runs are nobody's a little later by themselves.
    drop(tokio::time::timeout(LEAVE, presence.leave()).await);
    served
}
