#![doc = include_str!("../README.md")]

mod app;
mod config;
mod domain;
mod error;
mod handlers;
mod memory;
mod presence;
mod registry;
mod routes;
mod runner;
mod shown;
mod threads;
mod tokenizer;
mod work;

pub use domain::thread::Refusal;
pub use error::Error;
use muster_runtime::{Context, Service};

/// The service for [`muster_runtime::main`].
#[must_use]
pub fn service() -> Service {
    Service::with_settings("agent", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    let app = app::App::new(cx.bus.clone(), cx.shutdown.clone());
    cx.spawn(app.calls.clone().listen());
    cx.serve(routes::routes(app, &config)).await
}
