#![doc = include_str!("../README.md")]

mod app;
mod domain;
mod error;
mod handlers;
mod recording;
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
    let pool = cx.database(&database, "execution_log", include_str!("../schema.sql")).await?;
    let app = App { bus: cx.bus.clone(), store: Store::new(pool) };
    cx.spawn(recording::record(app.clone()));
    cx.spawn(recording::tell_lag(app.clone()));
    cx.serve(routes::routes(app)).await
}
