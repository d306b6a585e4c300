//! Tools: registered, shown, called, removed.

use muster_contracts::tool::v1::{
    ExecuteToolRequest, RegisterToolRequest, ToolDefinition, ToolResult, UnregisterToolRequest,
};
use muster_contracts::{Code, Fault};
use reqwest::Method;
use serde_json::json;

use crate::platform::{Peers, Platform, problem, told};

pub(crate) async fn register(
    _: Peers,
    request: RegisterToolRequest,
) -> Result<ToolDefinition, Fault> {
    if request.name == "echo" {
        return Err(Fault::new(Code::Conflict, "the tool \"echo\" is built in"));
    }
    Ok(ToolDefinition {
        name: request.name,
        description: request.description,
        parameters: request.parameters,
        effect: request.effect,
        timeout_ms: request.timeout_ms,
        kind: if request.kind.is_empty() { "worker".to_owned() } else { request.kind },
        with: request.with,
        max_concurrency: request.max_concurrency,
        rate: request.rate,
        secrets: request.secrets,
        revision: 1,
        ..Default::default()
    })
}

pub(crate) async fn unregister(
    _: Peers,
    request: UnregisterToolRequest,
) -> Result<ToolDefinition, Fault> {
    if request.name == "gone" {
        return Err(Fault::new(Code::NotFound, "there is no tool \"gone\""));
    }
    Ok(ToolDefinition { name: request.name, ..Default::default() })
}

/// Answers with what it was asked.
pub(crate) async fn execute(_: Peers, request: ExecuteToolRequest) -> Result<ToolResult, Fault> {
    if request.tool == "away" {
        return Err(Fault::new(Code::Unavailable, "no worker answers tools.away: start it"));
    }
    let result = json!({ "key": request.idempotency_key, "got": request.arguments.unwrap().0 });
    Ok(ToolResult { result: Some(result.into()), duration_ms: 3, replayed: false })
}

#[tokio::test]
async fn a_tool_is_registered_shown_and_removed() {
    let platform = Platform::start().await;
    let yaml = "description: Says it loudly.\neffect: pure\ntimeout_ms: 2000\nparameters: {type: object}\n";
    let (status, tool) =
        told(platform.put("/v1/tools/shout", "application/yaml", yaml).await).await;
    let shown = json!({
        "name": "shout", "description": "Says it loudly.", "effect": "pure", "timeout_ms": 2000,
        "parameters": { "type": "object" }, "kind": "worker", "revision": 1,
    });
    assert_eq!((status, &tool), (200, &shown));
    // What was read can be written again.
    let again = platform.put("/v1/tools/shout", "application/json", &tool.to_string()).await;
    assert_eq!(told(again).await, (200, tool));
    let http = json!({
        "name": "weather", "description": "", "effect": "pure", "timeout_ms": 0, "parameters": {}, "kind": "http",
        "with": { "endpoint": "https://api.example.com/{city}" }, "max_concurrency": 2,
        "rate": { "calls": 10, "per_seconds": 60 }, "secrets": ["weather-key"], "revision": 1,
    });
    let put = platform.put("/v1/tools/weather", "application/json", &http.to_string()).await;
    assert_eq!(told(put).await, (200, http));
    assert_eq!(told(platform.get("/v1/tools/search").await).await.1["name"], "search");
    assert_eq!(platform.delete("/v1/tools/shout").await.status(), 204);
    problem(platform.delete("/v1/tools/gone").await, 404, &["gone"]).await;
    let put = async |path: &str, body: &str| platform.put(path, "application/yaml", body).await;
    problem(put("/v1/tools/echo", yaml).await, 409, &["built in"]).await;
    problem(put("/v1/tools/Shout", yaml).await, 400, &["\"Shout\"", "a-z"]).await;
    problem(put("/v1/tools/shout", "name: whisper").await, 400, &["\"whisper\""]).await;
    problem(put("/v1/tools/shout", "efect: pure").await, 400, &["unknown field `efect`"]).await;
}

#[tokio::test]
async fn a_tool_is_called_under_the_clients_key() {
    let platform = Platform::start().await;
    let call = async |key: &str| {
        let request = platform.request(Method::POST, "/v1/tools/shout");
        let request = request.header("Idempotency-Key", key);
        told(request.json(&json!({ "arguments": { "a": 1 } })).send().await.unwrap()).await.1
    };
    let (one, other) = (call("one").await, call("other").await);
    assert_eq!((&one["result"]["got"], &one["duration_ms"]), (&json!({ "a": 1 }), &json!(3)));
    assert_eq!(call("one").await, one);
    assert_ne!(one["result"]["key"], other["result"]["key"]);
    let plain = told(platform.post("/v1/tools/shout", json!({})).await).await.1;
    assert_eq!(plain["result"], json!({ "key": "", "got": {} }));
    problem(platform.post("/v1/tools/away", json!({})).await, 503, &["start it"]).await;
    problem(platform.post("/v1/tools/a", json!({ "args": 1 })).await, 400, &["args"]).await;
    problem(platform.post("/v1/tools/a.b", json!({})).await, 400, &["\"a.b\""]).await;
}
