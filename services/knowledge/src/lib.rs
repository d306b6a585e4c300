#![doc = include_str!("../README.md")]

mod app;
mod domain;
mod error;
mod handlers;
mod registry;
mod routes;

use muster_runtime::{Context, Service};

use crate::app::App;

/// The knowledge service.
#[must_use]
pub fn service() -> Service {
    Service::new("knowledge", run)
}

async fn run(cx: Context) -> anyhow::Result<()> {
    cx.serve(routes::routes(App::new(&cx.bus)?)).await
}
