#![doc = include_str!("../README.md")]

mod app;
mod config;
mod domain;
mod error;
mod handlers;
mod providers;
mod routes;
mod store;

use muster_runtime::{Context, Service};
use tracing::info;

use crate::app::App;
use crate::config::Config;
use crate::store::Store;

/// The vector service.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("vector", Config::from_env, run)
}

async fn run(cx: Context, config: Config) -> anyhow::Result<()> {
    let pool = cx.database(&config.database, "vector", include_str!("../schema.sql")).await?;
    let store = Store::new(pool);
    let embedder = config.embedder()?;
    info!(embedder = embedder.name(), "embedding");
    cx.serve(routes::routes(App { bus: cx.bus.clone(), store, embedder })).await
}
