#![doc = include_str!("../README.md")]

mod abandoned;
mod app;
mod cache;
mod config;
mod domain;
mod error;
mod handlers;
mod keys;
mod limits;
mod money;
mod providers;
mod routes;
mod routing;
mod slots;

use muster_runtime::{Context, Service};

/// The model service.
#[must_use]
pub fn service() -> Service {
    Service::with_settings("model", config::Config::from_env, run)
}

async fn run(cx: Context, config: config::Config) -> anyhow::Result<()> {
    let (app, beside) = app::App::new(cx.bus.clone(), &config)?;
    let providers: Vec<&str> =
        app.routing.providers.ready().map(|found| found.info.name.as_str()).collect();
    tracing::info!(providers = providers.join(", "), "model providers");
    drop(providers);
    cx.spawn(app.calls.clone().listen());
    cx.spawn(app.routing.definitions.clone().listen());
    cx.spawn(app.cache.clone().listen());
    cx.spawn(app.sessions.clone().listen(cx.bus.clone()));
    cx.spawn(app.directory.clone().keep());
    cx.spawn(beside.events.run(cx.bus.clone()));
    // What requests have reserved is settled after the last of them, not cut off with the other tasks.
    let ledger = app.ledger.clone();
    let serving = async {
        let served = cx.serve(routes::routes(app)).await;
        ledger.close();
        served
    };
    let (served, ()) = futures::future::join(serving, beside.accounts.run()).await;
    served
}
