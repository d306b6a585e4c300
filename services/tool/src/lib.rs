#![doc = include_str!("../README.md")]

mod app;
mod calls;
mod config;
mod domain;
mod error;
mod execute;
mod handlers;
mod kinds;
mod limits;
mod outbound;
mod process;
mod routes;
mod tools;

use muster_runtime::{Context, Service};

/// The tool service.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("tool", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    let app = app::App::new(cx.bus.clone(), &config)?;
    cx.spawn(app.calls.clone().listen());
    cx.serve(routes::routes(app)?).await
}
