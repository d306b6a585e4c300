#![doc = include_str!("../README.md")]

mod app;
mod config;
mod domain;
mod error;
mod handlers;
mod providers;
mod routes;

use muster_runtime::{Context, Service};

/// The model service.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("model", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    tracing::info!(
        openai = config.openai.as_ref().map(|openai| openai.base_url.shown()),
        default = if config.openai.is_some() { "openai" } else { "offline" },
        "model providers"
    );
    let app = app::App::new(cx.bus.clone(), &config)?;
    cx.spawn(app.calls.clone().listen());
    cx.serve(routes::routes(app)).await
}
