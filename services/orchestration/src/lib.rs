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
    Service::new("orchestration", run)
}

async fn run(cx: Context) -> anyhow::Result<()> {
    let config = config::Config::from_env(&cx.env)?;
    cx.serve(routes::routes(app::App::new(cx.bus.clone(), &config), &config)).await
}
