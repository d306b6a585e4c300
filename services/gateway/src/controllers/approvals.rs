//! `/v1/approvals`.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::JsonObject;
use muster_contracts::agent::v1::{
    DecideApprovalRequest, GetApprovalRequest, ListApprovalsRequest,
};
use serde::Deserialize;

use super::executions::start::key;
use crate::{
    app::App,
    auth::Client,
    body,
    error::Error,
    problem::Problem,
    query::Query,
    wire::{Approval, Approvals, Decision},
};

/// Which approvals.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    #[serde(default)]
    status: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    limit: u32,
}

/// Calls of agents that wait for somebody's approval, or did within 30 days.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", operation_id = "list_approvals",
    params(("status" = Option<String>, Query, description = "Only these: `pending`, `approved`, `rejected` or `cancelled`"),
        ("agent" = Option<String>, Query, description = "Only those of this agent"),
        ("limit" = Option<u32>, Query, description = "At most this many, the newest; 100, at most 1000")),
    responses((status = 200, body = Approvals)))]
pub(crate) async fn list(
    State(app): State<App>,
    client: Client,
    Query(filter): Query<Filter>,
) -> Result<Json<Approvals>, Error> {
    let Filter { status, agent, limit } = filter;
    let tenant = client.tenant.clone();
    let request = ListApprovalsRequest { status, agent, limit, tenant };
    let list = app.bus.request(&request).await?;
    Ok(Json(Approvals { approvals: list.approvals.into_iter().map(Approval::from).collect() }))
}

/// An approval.
#[utoipa::path(get, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "get_approval",
    params(("id" = String, Path, description = "The approval's id")),
    responses((status = 200, body = Approval), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    client: Client,
    Path(approval_id): Path<String>,
) -> Result<Json<Approval>, Error> {
    let request = GetApprovalRequest { approval_id, tenant: client.tenant.clone() };
    Ok(Json(app.bus.request(&request).await?.into()))
}

/// Decides about a call. The first decision holds; with an `Idempotency-Key` a repeated request is the same decision.
#[utoipa::path(post, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "decide_approval", request_body = Decision,
    params(("id" = String, Path, description = "The approval's id"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 200, body = Approval, description = "Decided; the run goes on"),
        (status = 400, body = Problem, description = "The arguments do not fit the tool's schema"),
        (status = 403, body = Problem, description = "`by` is none of the approvers, or not the name of the key that was sent"),
        (status = 404, body = Problem, description = "There is no such approval"),
        (status = 409, body = Problem, description = "It was decided before; `details` say how")))]
pub(crate) async fn decide(
    State(app): State<App>,
    Path(approval_id): Path<String>,
    request: Request,
) -> Result<Json<Approval>, Error> {
    let (key, client) = (key(request.headers())?, Client::of(&request)?);
    let Decision { decision, arguments, reason, by } = body::json(request).await?;
    let decision_id = key.map(|key| key.id(&format!("approvals {approval_id}")).to_string());
    let by = client.decides(by)?;
    let request = DecideApprovalRequest {
        approval_id,
        decision,
        arguments: arguments.map(JsonObject),
        reason,
        by,
        decision_id: decision_id.unwrap_or_default(),
        tenant: client.tenant.clone(),
    };
    Ok(Json(app.bus.request(&request).await?.into()))
}
