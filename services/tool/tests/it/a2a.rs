//! `call: a2a`: agents by their address or their card.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::World;

struct Agent {
    address: String,
    task: JoinHandle<()>,
}

impl Agent {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new()
            .route("/card.json", get(card))
            .route(
                "/card-1.json",
                get(|| async {
                    axum::Json(json!({ "supportedInterfaces": [
                    { "url": "https://grpc.example", "protocolBinding": "GRPC" },
                    { "url": "/rpc", "protocolBinding": "JSONRPC" },
                ] }))
                }),
            )
            .route("/empty.json", get(|| async { axum::Json(json!({ "name": "x" })) }))
            .route("/rpc", post(rpc))
            .with_state(address.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, task }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn card(State(address): State<String>) -> Response {
    axum::Json(json!({
        "name": "Ada", "preferredTransport": "JSONRPC", "url": format!("http://{address}/rpc"),
    }))
    .into_response()
}

async fn rpc(headers: HeaderMap, axum::Json(asked): axum::Json<Value>) -> Response {
    let parameters = &asked["params"];
    let event = |result: Value| json!({ "jsonrpc": "2.0", "id": asked["id"], "result": result });
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap());
    match asked["method"].as_str().unwrap() {
        "message/send" => axum::Json(event(json!({
            "kind": "message", "role": "agent", "got": parameters, "by": authorization,
        })))
        .into_response(),
        "message/stream" => {
            let events = [
                event(json!({ "kind": "task", "id": "t1", "status": { "state": "working" } })),
                event(json!({ "kind": "artifact-update", "artifact": { "parts": [] } })),
                event(
                    json!({ "kind": "status-update", "status": { "state": "completed" }, "final": true }),
                ),
            ];
            let text = events.map(|event| format!("data: {event}\r\n\r\n")).concat();
            ([("content-type", "text/event-stream; charset=utf-8")], text).into_response()
        }
        _ => axum::Json(json!({
            "jsonrpc": "2.0", "id": asked["id"],
            "error": { "code": -32001, "message": "Task not found" },
        }))
        .into_response(),
    }
}

#[tokio::test]
async fn an_agent_is_found_by_its_card_or_its_address() {
    let agent = Agent::start().await;
    let world = World::allowing(&agent.address).await;
    let message =
        json!({ "message": { "role": "user", "parts": [{ "kind": "text", "text": "hi" }] } });
    let bearer = json!({ "bearer": { "token": "token-1" } });
    for place in [
        json!({ "agentCard": { "endpoint": { "uri": agent.url("/card.json"), "authentication": bearer } } }),
        json!({ "agentCard": { "endpoint": { "uri": agent.url("/card-1.json"), "authentication": bearer } } }),
        json!({ "server": { "uri": agent.url("/rpc"), "authentication": bearer } }),
    ] {
        let mut call = json!({ "method": "message/send", "parameters": message });
        call.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        let key = format!("k{}", call.to_string().len());
        let answer = world.outward_as(&key, "a2a", call).await.unwrap();
        assert_eq!((&answer["role"], &answer["by"]), (&json!("agent"), &json!("Bearer ***")));
        assert_eq!(answer["got"]["message"]["messageId"], key);
        assert_eq!(answer["got"]["message"]["parts"][0]["text"], "hi");
    }
}

#[tokio::test]
async fn a_stream_is_the_list_of_its_events() {
    let agent = Agent::start().await;
    let world = World::allowing(&agent.address).await;
    let call = json!({
        "method": "message/stream", "server": { "uri": agent.url("/rpc") },
        "parameters": { "message": { "messageId": "m1" } },
    });
    let events = world.outward("a2a", call).await.unwrap();
    let kinds: Vec<_> = events.as_array().unwrap().iter().map(|event| &event["kind"]).collect();
    assert_eq!(kinds, ["task", "artifact-update", "status-update"]);
}

#[tokio::test]
async fn what_an_agent_refuses_is_an_error_of_the_task() {
    let agent = Agent::start().await;
    let world = World::allowing(&agent.address).await;
    let by_card = |path: &str| json!({ "method": "tasks/get", "parameters": { "id": "t9" }, "agentCard": { "endpoint": { "uri": agent.url(path) } } });
    for (call, kind, status, part) in [
        (by_card("/card.json"), "communication", 500, "the error -32001: Task not found"),
        (by_card("/none.json"), "communication", 404, "answered 404"),
        (by_card("/empty.json"), "configuration", 400, "it tells no `url` for JSON-RPC"),
        (
            json!({ "method": "tasks/get", "server": { "uri": "http://10.0.0.1/" } }),
            "DENIED",
            0,
            "MUSTER_HTTP_ALLOW",
        ),
    ] {
        let raised = world.outward("a2a", call).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), (kind, status), "{raised:?}");
        assert!(raised.2.contains(part), "{raised:?}");
    }
}
