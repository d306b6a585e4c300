#![doc = include_str!("../README.md")]

mod app;
mod config;
mod definitions;
mod domain;
mod effects;
mod error;
mod executions;
mod handlers;
mod routes;

pub use error::Error;
use muster_runtime::{Context, Service};

/// The service for [`muster_runtime::main`].
#[must_use]
pub fn service() -> Service {
    Service::with_settings("orchestration", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    cx.serve(routes::routes(app::App::new(cx.bus.clone(), &config), &config)).await
}
