//! Cancelling, suspending, resuming, retrying and listing executions.

use muster_contracts::{
    Code, Fault,
    log::v1::{ExecutionList, ExecutionSummary, ListExecutionsRequest},
    workflow::v1::{
        CancelExecutionRequest, ExecutionState, ResumeExecutionRequest, RetryExecutionRequest,
        SuspendExecutionRequest,
    },
};
use reqwest::Method;
use serde_json::{Value, json};

use crate::platform::{Peers, Platform, problem, told};

/// Plays orchestration: any execution that is there comes to stand so, but for one that has.
fn change(peers: &Peers, id: &str, status: &str, reason: String) -> Result<ExecutionState, Fault> {
    let Some(state) = peers.execution(id) else {
        return Err(Fault::new(Code::NotFound, format!("execution {id:?} is not there")));
    };
    if state.status == status {
        return Err(Fault::new(Code::Conflict, format!("execution {id:?} is {status}: twice")));
    }
    let state = ExecutionState { status: status.to_owned(), reason, ..state };
    peers.set(state.clone());
    Ok(state)
}

pub(crate) async fn cancel(
    peers: Peers,
    request: CancelExecutionRequest,
) -> Result<ExecutionState, Fault> {
    if request.digest == "slow-digest" {
        peers.set(ExecutionState {
            execution_id: request.execution_id.clone(),
            ..Default::default()
        });
    }
    change(&peers, &request.execution_id, "cancelled", request.reason)
}

pub(crate) async fn suspend(
    peers: Peers,
    request: SuspendExecutionRequest,
) -> Result<ExecutionState, Fault> {
    change(&peers, &request.execution_id, "suspended", request.reason)
}

pub(crate) async fn resume(
    peers: Peers,
    request: ResumeExecutionRequest,
) -> Result<ExecutionState, Fault> {
    change(&peers, &request.execution_id, "running", String::new())
}

pub(crate) async fn retry(
    peers: Peers,
    request: RetryExecutionRequest,
) -> Result<ExecutionState, Fault> {
    change(&peers, &request.execution_id, "running", String::new())
}

/// Plays the log: it tells what it was asked.
pub(crate) async fn list(_: Peers, request: ListExecutionsRequest) -> Result<ExecutionList, Fault> {
    let asked = format!(
        "{} {} {} {}",
        request.status,
        request.workflow,
        request.since.is_some(),
        request.limit
    );
    let one =
        ExecutionSummary { execution_id: "e1".to_owned(), status: asked, ..Default::default() };
    Ok(ExecutionList { executions: vec![one], next: request.cursor })
}

fn known(platform: &Platform, status: &str) {
    platform.peers.set(ExecutionState {
        execution_id: "e1".to_owned(),
        status: status.to_owned(),
        ..Default::default()
    });
}

#[tokio::test]
async fn an_execution_is_suspended_resumed_and_cancelled_with_a_reason_or_without() {
    let platform = Platform::start().await;
    known(&platform, "running");
    let (status, body) =
        told(platform.post("/v1/executions/e1/suspend", json!({"reason": "lunch"})).await).await;
    assert_eq!(
        (status, &body["status"], &body["reason"]),
        (200, &json!("suspended"), &json!("lunch"))
    );
    let bare = |path: &str| platform.request(Method::POST, path).send();
    let (status, body) = told(bare("/v1/executions/e1/resume").await.unwrap()).await;
    assert_eq!((status, &body["status"], &body["reason"]), (200, &json!("running"), &Value::Null));
    let (status, body) = told(bare("/v1/executions/e1/cancel").await.unwrap()).await;
    assert_eq!((status, &body["status"]), (200, &json!("cancelled")));
    problem(bare("/v1/executions/e1/cancel").await.unwrap(), 409, &["\"e1\" is cancelled"]).await;
    known(&platform, "faulted");
    let (status, body) = told(bare("/v1/executions/e1/retry").await.unwrap()).await;
    assert_eq!((status, &body["status"]), (200, &json!("running")));
}

#[tokio::test]
async fn what_cannot_be_done_is_told_with_the_reason() {
    let platform = Platform::start().await;
    for verb in ["cancel", "suspend", "resume", "retry"] {
        let path = |id: &str| format!("/v1/executions/{id}/{verb}");
        let bare = |id: &str| platform.request(Method::POST, &path(id)).send();
        problem(bare("unknown").await.unwrap(), 404, &["\"unknown\""]).await;
        problem(bare("a.b").await.unwrap(), 400, &["a.b"]).await;
        problem(platform.get(&path("e1")).await, 405, &["GET"]).await;
    }
    known(&platform, "running");
    for verb in ["cancel", "suspend"] {
        let path = format!("/v1/executions/e1/{verb}");
        problem(platform.post(&path, json!({"reasn": "x"})).await, 400, &["reasn"]).await;
        let long = json!({"reason": "x".repeat(1001)});
        problem(platform.post(&path, long).await, 400, &["1001", "1000"]).await;
        let text =
            platform.request(Method::POST, &path).header("content-type", "text/plain").body("x");
        problem(text.send().await.unwrap(), 415, &["text/plain"]).await;
    }
}

#[tokio::test]
async fn an_execution_that_is_accepted_and_not_begun_can_be_cancelled_only() {
    let platform = Platform::start().await;
    let (status, body) =
        told(platform.post("/v1/executions", json!({"workflow": "slow"})).await).await;
    assert_eq!(status, 202);
    let id = body["execution_id"].as_str().unwrap();
    for verb in ["suspend", "resume", "retry"] {
        let request = platform.request(Method::POST, &format!("/v1/executions/{id}/{verb}"));
        problem(request.send().await.unwrap(), 409, &["is pending: it has not begun"]).await;
    }
    let request = platform.request(Method::POST, &format!("/v1/executions/{id}/cancel"));
    let (status, body) = told(request.send().await.unwrap()).await;
    assert_eq!((status, &body["status"]), (200, &json!("cancelled")));
}

#[tokio::test]
async fn executions_are_listed_by_what_the_client_says() {
    let platform = Platform::start().await;
    let (status, body) = told(platform.get("/v1/executions").await).await;
    assert_eq!((status, &body["executions"][0]["status"]), (200, &json!("  false 100")));
    assert_eq!(body.get("next"), None);
    let query = "status=running&workflow=brief&since=2026-01-31T12:00:00Z&limit=7&cursor=1_e";
    let (_, body) = told(platform.get(&format!("/v1/executions?{query}")).await).await;
    assert_eq!(body["executions"][0]["status"], "running brief true 7");
    assert_eq!(body["next"], "1_e");
    for (query, words) in [
        ("limit=0", ["limit", "1 to 1000"]),
        ("limit=many", ["`limit`", "many"]),
        ("since=yesterday", ["`since`", "yesterday"]),
        ("state=running", ["state", "expected one of"]),
    ] {
        let response = platform.get(&format!("/v1/executions?{query}")).await;
        problem(response, 400, &words).await;
    }
}
