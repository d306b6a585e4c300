//! Ten megabytes through the whole platform.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::Platform;

const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: test, name: large, version: '1.0.0'}
do:
- copied: {set: {text: '${ .text }'}, export: {as: '${ . }'}}
- counted:
    call: tool
    with: {tool: echo, arguments: {value: '${ .text | length }'}}
    output: {as: '${ {counted: ., text: $context.text} }'}
";

#[tokio::test]
async fn ten_megabytes_go_in_by_rest_through_tasks_and_out_by_rest() {
    let platform = Platform::start().await;
    let put = platform.client.put(platform.url("/v1/workflows"));
    let put = put.header("content-type", "application/yaml").body(WORKFLOW);
    assert!(put.send().await.unwrap().status().is_success());
    let text = "once upon ".repeat(1_000_000);
    let start = platform.client.post(platform.url("/v1/executions")).header("Prefer", "wait=120");
    let body = json!({"workflow": "large", "input": {"text": text}});
    let response = start.json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let state: Value = response.json().await.unwrap();
    assert_eq!(state["status"], "completed", "{}", state["error"]);
    assert!(contains(&state["output"], &text), "the output has the text");
    let execution = state["execution_id"].as_str().unwrap();
    let again = platform.client.get(platform.url(&format!("/v1/executions/{execution}")));
    let again: Value = again.send().await.unwrap().json().await.unwrap();
    assert!(again == state, "the state can be asked for again");
}

#[tokio::test]
async fn an_input_that_no_message_can_hold_is_refused_with_its_size() {
    let platform = Platform::start().await;
    let start = platform.client.post(platform.url("/v1/executions"));
    let body = json!({"workflow": "large", "input": {"text": "x".repeat(11 << 20)}});
    let response = start.json(&body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let problem: Value = response.json().await.unwrap();
    assert!(problem["detail"].as_str().unwrap().contains("10 MiB"), "{problem}");
}

/// Whether a value is the text or has it somewhere inside.
fn contains(value: &Value, text: &str) -> bool {
    match value {
        Value::String(found) => found == text,
        Value::Object(map) => map.values().any(|value| contains(value, text)),
        Value::Array(values) => values.iter().any(|value| contains(value, text)),
        _ => false,
    }
}
