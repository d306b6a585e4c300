#![doc = include_str!("../README.md")]

mod app;
mod config;
mod domain;
mod error;
mod execute;
mod handlers;
mod routes;
mod tools;

use muster_runtime::{Context, Service};

/// The tool service.
#[must_use]
pub fn service() -> Service {
    Service::new("tool", run)
}

async fn run(cx: Context) -> anyhow::Result<()> {
    let config = config::Config::from_env(&cx.env)?;
    let app = app::App::new(cx.bus.clone(), &config)?;
    cx.serve(routes::routes(app)?).await
}
