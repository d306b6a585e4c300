#![doc = include_str!("../README.md")]

mod app;
mod config;
mod definitions;
mod domain;
mod effects;
mod error;
mod executions;
mod externals;
mod handlers;
mod listeners;
mod routes;
mod schedules;
mod secrets;
mod time_travel;
mod unstarted;

pub use error::Error;
use muster_runtime::{Context, Service};

/// The service for [`muster_runtime::main`].
#[must_use]
pub fn service() -> Service {
    Service::with_settings("orchestration", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    let app = app::App::new(cx.bus.clone(), &config);
    cx.spawn(app.calls.clone().listen());
    cx.spawn(app.schedules.clone().keep_set());
    cx.serve(routes::routes(app, &config)).await
}
