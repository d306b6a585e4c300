#![doc = include_str!("../README.md")]

mod app;
mod domain;
mod error;
mod handlers;
mod routes;
mod store;

use muster_runtime::{Context, Service};

use crate::app::App;
use crate::store::Store;

/// The execution-log service.
#[must_use]
pub fn service() -> Service {
    Service::new("execution-log", run)
}

async fn run(cx: Context) -> anyhow::Result<()> {
    let store = Store::new(cx.database("execution_log").await?);
    tokio::select! {
        prepared = store.prepare() => prepared?,
        () = cx.shutdown.cancelled() => return Ok(()),
    }
    cx.serve(routes::routes(App { bus: cx.bus.clone(), store })).await
}
