//! `/healthz` and `/readyz`.

use axum::{Json, extract::State};
use muster_contracts::{Code, Fault};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::{app::App, error::Error, problem::Problem};

/// How the gateway is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Health {
    /// `ok`; what is not ok is told as a problem.
    status: String,
}

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = Health)))]
pub(crate) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Whether requests can be served: the bus answers.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Problem, description = "The bus cannot be reached")))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<Json<Health>, Error> {
    let report = app.readiness.report().await;
    let reasons: Vec<String> = report
        .into_iter()
        .filter_map(|(name, result)| Some(format!("{name}: {}", result.err()?)))
        .collect();
    if reasons.is_empty() {
        return Ok(Json(Health { status: "ok".to_owned() }));
    }
    let detail = format!("not ready: {}", reasons.join("; "));
    Err(Fault::new(Code::Unavailable, detail).with_details(json!({ "reasons": reasons })).into())
}
