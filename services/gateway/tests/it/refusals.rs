//! What every path refuses in the same way.

use reqwest::Method;
use serde_json::json;

use crate::platform::{Platform, problem};

#[tokio::test]
async fn unknown_paths_wrong_methods_and_wrong_types_are_problems_too() {
    let platform = Platform::start().await;
    let unknown = problem(platform.get("/v2/nothing").await, 404, &["/v2/nothing"]).await;
    assert_eq!(
        (&unknown["code"], &unknown["type"], &unknown["instance"]),
        (&json!("NOT_FOUND"), &json!("urn:muster:problem:not-found"), &json!("/v2/nothing"))
    );
    let wrong = platform.request(Method::DELETE, "/v1/workflows").send().await.unwrap();
    assert!(wrong.headers().contains_key("allow"));
    problem(wrong, 405, &["DELETE", "PUT"]).await;
    problem(
        platform.put("/v1/workflows", "text/plain", "x").await,
        415,
        &["text/plain", "application/yaml"],
    )
    .await;
    let untyped = platform.request(Method::POST, "/v1/executions").body("{}").send().await.unwrap();
    problem(untyped, 415, &["not given", "application/json"]).await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_with_both_sizes() {
    let platform = Platform::start().await;
    let large = "x".repeat((1 << 20) + 1);
    problem(
        platform.put("/v1/workflows", "application/yaml", &large).await,
        413,
        &["1048577", "1048576"],
    )
    .await;
}

#[tokio::test]
async fn a_hostile_yaml_body_is_refused_quickly() {
    let platform = Platform::start().await;
    let mut bomb = "instructions: x\noffline:\n  a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb.push_str(&format!("  a{level}: &a{level} [{}]\n", vec![before; 9].join(", ")));
    }
    problem(platform.put("/v1/agents/a", "application/yaml", &bomb).await, 400, &["YAML"]).await;
    let deep = format!("instructions: {}{}", "[".repeat(5000), "]".repeat(5000));
    problem(platform.put("/v1/agents/a", "application/yaml", &deep).await, 400, &["YAML"]).await;
}

#[tokio::test]
async fn a_clients_trace_goes_on() {
    let platform = Platform::start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = platform.request(Method::GET, "/v1/workflows/nothing");
    let response = request
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .send()
        .await
        .unwrap();
    assert!(
        response.headers()["traceparent"].to_str().unwrap().starts_with(&format!("00-{trace}-"))
    );
    assert_eq!(problem(response, 404, &[]).await["trace_id"], trace);
}
