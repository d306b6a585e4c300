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
    Service::new("vector", run)
}

async fn run(cx: Context) -> anyhow::Result<()> {
    let embedder = Config::from_env(&cx.env)?.embedder()?;
    info!(embedder = embedder.name(), "embedding");
    let store = Store::new(cx.database("vector").await?);
    tokio::select! {
        prepared = store.prepare() => prepared?,
        () = cx.shutdown.cancelled() => return Ok(()),
    }
    cx.serve(routes::routes(App { bus: cx.bus.clone(), store, embedder })).await
}
