//! Starting executions and asking about them.

use std::time::Duration;

use muster_testkit::eventually;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::platform::{PATIENCE, Platform, problem, told};

async fn start(platform: &Platform, body: Value, headers: &[(&str, &str)]) -> Response {
    let request = platform.request(Method::POST, "/v1/executions").json(&body);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value))
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_start_is_accepted_and_its_state_is_where_it_says() {
    let platform = Platform::start().await;
    let response = start(
        &platform,
        json!({"workflow": "quick", "input": {"n": 9_007_199_254_740_993_i64}}),
        &[],
    )
    .await;
    assert_eq!(response.status(), 202);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let started: Value = response.json().await.unwrap();
    assert_eq!(location, format!("/v1/executions/{}", started["execution_id"].as_str().unwrap()));
    let state = eventually(PATIENCE, "the execution completes", || async {
        let (_, state) = told(platform.get(&location).await).await;
        (state["status"] == "completed").then_some(state)
    })
    .await;
    assert_eq!(state["output"], json!({"echo": {"n": 9_007_199_254_740_993_i64}}));
}

#[tokio::test]
async fn an_accepted_start_is_pending_until_the_engine_has_begun() {
    let platform = Platform::start().await;
    let (_, started) = told(start(&platform, json!({"workflow": "slow"}), &[]).await).await;
    let path = format!("/v1/executions/{}", started["execution_id"].as_str().unwrap());
    let (status, state) = told(platform.get(&path).await).await;
    assert_eq!(
        (status, &state["status"], &state["workflow"]),
        (200, &json!("pending"), &json!("slow"))
    );
    eventually(PATIENCE, "the engine gets an empty object as input", || async {
        platform
            .peers
            .starts()
            .first()
            .and_then(|start| start.input.clone())
            .is_some_and(|input| *input == json!({}))
    })
    .await;
}

#[tokio::test]
async fn a_client_that_prefers_to_wait_gets_the_result() {
    let platform = Platform::start().await;
    let response =
        start(&platform, json!({"workflow": "quick", "input": [1]}), &[("prefer", "wait=30")])
            .await;
    assert_eq!(response.headers()["preference-applied"], "wait=30");
    let (status, state) = told(response).await;
    assert_eq!(
        (status, &state["status"], &state["output"]),
        (200, &json!("completed"), &json!({"echo": [1]}))
    );
}

#[tokio::test]
async fn a_fault_is_a_result_as_well() {
    let platform = Platform::start().await;
    let (status, state) =
        told(start(&platform, json!({"workflow": "failing"}), &[("prefer", "wait=30")]).await)
            .await;
    assert_eq!(
        (status, &state["status"], &state["error"]["title"]),
        (200, &json!("faulted"), &json!("it broke"))
    );
}

#[tokio::test]
async fn a_wait_that_is_over_answers_as_if_nobody_had_waited() {
    let platform = Platform::start().await;
    let response = start(&platform, json!({"workflow": "slow"}), &[("prefer", "wait=1")]).await;
    assert_eq!(response.headers()["preference-applied"], "wait=1");
    assert!(response.headers().contains_key("location"));
    assert_eq!(told(response).await.0, 202);
}

/// A request over the bus has 30 s; the client that waits 4 s shall not wait so long for an engine that hangs.
#[tokio::test]
async fn a_wait_is_over_in_time_though_the_engine_hangs() {
    let platform = Platform::start().await;
    let waiting = start(&platform, json!({"workflow": "hanging"}), &[("prefer", "wait=4")]);
    let response = tokio::time::timeout(Duration::from_secs(25), waiting).await.unwrap();
    assert_eq!(told(response).await.0, 202);
}

#[tokio::test]
async fn the_same_key_is_the_same_execution_and_another_body_is_refused() {
    let platform = Platform::start().await;
    let key = [("idempotency-key", "\"order 66\"")];
    let body = json!({"workflow": "slow", "input": {"a": 1}});
    let (one, two) =
        tokio::join!(start(&platform, body.clone(), &key), start(&platform, body.clone(), &key));
    let location = one.headers()["location"].clone();
    assert_eq!((one.status().as_u16(), two.status().as_u16()), (202, 202));
    assert_eq!(location, two.headers()["location"]);
    let third = start(&platform, body, &[("idempotency-key", "order 66")]).await;
    assert_eq!(location, third.headers()["location"]);
    let other = start(&platform, json!({"workflow": "slow", "input": {"a": 2}}), &key).await;
    problem(other, 422, &["\"order 66\"", "another request"]).await;
    problem(
        start(&platform, json!({"workflow": "slow"}), &[("idempotency-key", &"k".repeat(256))])
            .await,
        400,
        &["256"],
    )
    .await;
    // A start behind all of these shows that no second one of them comes.
    start(&platform, json!({"workflow": "quick"}), &[("prefer", "wait=30")]).await;
    assert_eq!(platform.peers.starts().iter().filter(|start| start.workflow == "slow").count(), 1);
}

#[tokio::test]
async fn a_wrong_start_is_refused_by_what_is_wrong() {
    let platform = Platform::start().await;
    problem(start(&platform, json!({"workflow": "nothing"}), &[]).await, 404, &["\"nothing\""])
        .await;
    problem(
        start(&platform, json!({"workflow": "quick", "inptu": 1}), &[]).await,
        400,
        &["`inptu`", "`input`"],
    )
    .await;
    problem(start(&platform, json!({"input": 1}), &[]).await, 400, &["missing field `workflow`"])
        .await;
    problem(start(&platform, json!([1]), &[]).await, 400, &["an object", "[1]"]).await;
    problem(platform.get("/v1/executions/0190-none").await, 404, &["0190-none"]).await;
    problem(platform.get("/v1/executions/a.b").await, 400, &["a.b"]).await;
    let internal = problem(
        start(&platform, json!({"workflow": "broken"}), &[]).await,
        500,
        &["internal error"],
    )
    .await;
    assert!(!internal.to_string().contains("secret"));
}

#[tokio::test]
async fn recorded_events_come_in_pages_and_usage_at_once() {
    let platform = Platform::start().await;
    let (_, page) = told(platform.get("/v1/executions/e/events?limit=2").await).await;
    assert_eq!((page["events"].as_array().unwrap().len(), &page["next_after"]), (2, &json!(2)));
    let (_, page) = told(platform.get("/v1/executions/e/events?limit=2&after=2").await).await;
    assert_eq!((page["events"][0]["sequence"].as_u64(), page.get("next_after")), (Some(3), None));
    assert_eq!(told(platform.get("/v1/executions/e/usage").await).await.1["duration_ms"], 12);
    problem(platform.get("/v1/executions/e/events?limit=1001").await, 400, &["1001", "1 to 1000"])
        .await;
    problem(platform.get("/v1/executions/e/events?after=x").await, 400, &["after"]).await;
    problem(platform.get("/v1/executions/unknown/events").await, 404, &["unknown"]).await;
}
