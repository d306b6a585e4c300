#![doc = include_str!("../README.md")]

mod app;
mod domain;
mod error;
mod handlers;
mod routes;
mod store;

use muster_runtime::{Context, Database, Service};

use crate::app::App;
use crate::store::Store;

/// The execution-log service.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("execution-log", |env| Database::from_env(env, "execution-log"), run)
}

async fn run(cx: Context, database: Database) -> anyhow::Result<()> {
    let store = Store::new(cx.database(&database, "execution_log").await?);
    tokio::select! {
        prepared = store.prepare() => prepared?,
        () = cx.shutdown.cancelled() => return Ok(()),
    }
    cx.serve(routes::routes(App { bus: cx.bus.clone(), store })).await
}
