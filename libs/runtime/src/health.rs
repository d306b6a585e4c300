//! Health over HTTP for probes: is the process alive, can the service work.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::metrics;

/// What Prometheus calls its text.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4";

type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What must hold for a service to be ready. Cheap to clone.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<RwLock<BTreeMap<String, Check>>>,
}

impl Readiness {
    /// Adds a check under a name; the error says what is wrong.
    pub fn add<H, F>(&self, name: &str, check: H)
    where
        H: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let check: Check = Arc::new(move || check().boxed());
        self.checks.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), check);
    }

    /// Runs every check: its name and, where it fails, what is wrong.
    pub async fn report(&self) -> BTreeMap<String, Result<(), String>> {
        let checks = self.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let results = checks.into_iter().map(|(name, check)| async move {
            let result = tokio::time::timeout(Duration::from_secs(3), check()).await;
            (name, result.unwrap_or_else(|_elapsed| Err("no answer within 3 s".to_owned())))
        });
        futures::future::join_all(results).await.into_iter().collect()
    }

    /// The report as a response: 200, or 503 with what is wrong.
    pub async fn response(&self) -> Response {
        let report = self.report().await;
        let ready = report.values().all(Result::is_ok);
        let checks: BTreeMap<&String, &str> = report
            .iter()
            .map(|(name, result)| (name, result.as_ref().err().map_or("ok", String::as_str)))
            .collect();
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(serde_json::json!({ "ready": ready, "checks": checks }))).into_response()
    }

    pub(crate) fn absorb(&self, service: &str, other: &Self) {
        let others = other.checks.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut checks = self.checks.write().unwrap_or_else(PoisonError::into_inner);
        checks.extend(others.into_iter().map(|(name, check)| (format!("{service}.{name}"), check)));
    }
}

/// Serves `/healthz` and `/readyz` of all services of the process, and its `/metrics`.
pub(crate) async fn serve(
    address: SocketAddr,
    services: Vec<(&'static str, Readiness)>,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let ready = move |State(services): State<Vec<(&'static str, Readiness)>>| async move {
        let all = Readiness::default();
        for (name, readiness) in &services {
            all.absorb(name, readiness);
        }
        all.response().await
    };
    let app = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(|| async { ([(CONTENT_TYPE, TEXT_FORMAT)], metrics::text()) }))
        .with_state(services);
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|error| {
        anyhow::anyhow!("MUSTER_HEALTH_ADDR {address} cannot be listened on: {error}")
    })?;
    info!(%address, "health");
    let serving = axum::serve(listener, app)
        .with_graceful_shutdown(async move { shutdown.cancelled().await });
    tokio::select! {
        served = serving => Ok(served?),
        () = metrics::keep() => Ok(()),
    }
}
