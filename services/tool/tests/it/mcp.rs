//! `call: mcp`: sessions over HTTP and over the streams of a process.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::World;

/// What the server was told: the HTTP method, the headers, the message.
type Told = Arc<Mutex<Vec<(Method, HeaderMap, Value)>>>;

struct Server {
    address: String,
    told: Told,
    _stop: DropGuard,
}

impl Server {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (told, stop) = (Told::default(), CancellationToken::new());
        let router = Router::new().fallback(answer).with_state(told.clone());
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped => {}
                served = axum::serve(listener, router).into_future() => served.unwrap(),
            }
        });
        Self { address, told, _stop: stop.drop_guard() }
    }

    fn call(&self, method: &str, parameters: Value) -> Value {
        let uri = format!("http://{}/mcp", self.address);
        json!({
            "method": method, "parameters": parameters,
            "transport": { "http": { "endpoint": { "uri": uri }, "headers": { "X-Tone": "low" } } },
        })
    }

    /// What was told: HTTP methods and those of messages.
    fn methods(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        let name = |(http, _, message): &(Method, HeaderMap, Value)| {
            message["method"].as_str().map_or_else(|| http.to_string(), str::to_owned)
        };
        told.iter().map(name).collect()
    }
}

async fn answer(
    State(told): State<Told>,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    told.lock().unwrap().push((method.clone(), headers.clone(), message.clone()));
    if method == Method::DELETE {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let result = |result: Value| json!({ "jsonrpc": "2.0", "id": message["id"], "result": result });
    if message["method"] == "initialize" {
        let version = &message["params"]["protocolVersion"];
        let version = if version == "2025-11-25" { "1999-01-01" } else { "2025-03-26" };
        let hello = result(json!({ "protocolVersion": version, "capabilities": {} }));
        return ([("mcp-session-id", "s-1")], axum::Json(hello)).into_response();
    }
    if headers["mcp-session-id"] != "s-1" || headers["mcp-protocol-version"] != "2025-03-26" {
        return (StatusCode::BAD_REQUEST, "no session").into_response();
    }
    let parameters = &message["params"];
    match (message["method"].as_str().unwrap(), parameters["name"].as_str()) {
        ("notifications/initialized", _) => StatusCode::ACCEPTED.into_response(),
        ("tools/list", _) => {
            axum::Json(result(json!({ "tools": [{ "name": "add" }] }))).into_response()
        }
        ("tools/call", Some("add")) => {
            let sum = parameters["arguments"]["a"].as_i64().unwrap() + 1;
            let content = json!({ "content": [{ "type": "text", "text": sum.to_string() }] });
            let text = format!(
                ": hello\n\ndata: {}\n\nid: 7\nevent: message\ndata: {}\n\n",
                json!({ "jsonrpc": "2.0", "method": "notifications/progress" }),
                result(content),
            );
            // The stream stays open: nobody waits for its end.
            let open = stream::iter([Ok::<_, std::io::Error>(text)]).chain(stream::pending());
            ([("content-type", "text/event-stream")], Body::from_stream(open)).into_response()
        }
        ("tools/call", Some("broken")) => {
            let content = json!([{ "type": "text", "text": "no such city" }]);
            axum::Json(result(json!({ "isError": true, "content": content }))).into_response()
        }
        ("tools/call", Some("slow")) => {
            std::future::pending::<()>().await;
            StatusCode::OK.into_response()
        }
        _ => axum::Json(json!({
            "jsonrpc": "2.0", "id": message["id"],
            "error": { "code": -32602, "message": "unknown tool", "data": { "name": "x" } },
        }))
        .into_response(),
    }
}

#[tokio::test]
async fn a_tool_of_a_server_is_called_in_a_session_of_its_own() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let call = server.call("tools/call", json!({ "name": "add", "arguments": { "a": 41 } }));
    let result = world.outward_as("k1", "mcp", call.clone()).await.unwrap();
    assert_eq!(result["content"][0]["text"], "42");
    let session = ["initialize", "notifications/initialized", "tools/call", "DELETE"];
    assert_eq!(server.methods(), session);
    {
        let told = server.told.lock().unwrap();
        let (_, headers, message) = &told[0];
        assert_eq!(message["params"]["protocolVersion"], "2025-06-18");
        assert_eq!(message["params"]["clientInfo"]["name"], "muster");
        assert_eq!(
            (&headers["x-tone"], &headers["idempotency-key"]),
            (&"low".parse().unwrap(), &"k1/initialize".parse().unwrap())
        );
        assert_eq!(headers["accept"], "application/json, text/event-stream");
        assert_eq!(told[2].1["idempotency-key"], "k1");
        assert_eq!(told[3].1["mcp-session-id"], "s-1");
    }
    // The same call again is not made again.
    assert_eq!(world.outward_as("k1", "mcp", call).await.unwrap(), result);
    assert_eq!(server.methods().len(), 4);
    let listed = world.outward("mcp", server.call("tools/list", json!({}))).await.unwrap();
    assert_eq!(listed, json!({ "tools": [{ "name": "add" }] }));
}

#[tokio::test]
async fn what_a_server_says_is_wrong_is_an_error_of_the_task() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let tool = |name: &str| server.call("tools/call", json!({ "name": name }));
    let mut late = tool("slow");
    late["timeout"] = json!(50);
    let mut new = tool("add");
    new["protocolVersion"] = json!("2025-11-25");
    let mut elsewhere = tool("add");
    elsewhere["transport"]["http"]["endpoint"]["uri"] = json!("http://10.0.0.1/mcp");
    for (call, kind, status, part) in [
        (tool("broken"), "runtime", 500, "the tool \"broken\" of the MCP server http"),
        (tool("broken"), "runtime", 500, "failed: no such city"),
        (tool("other"), "communication", 500, "the error -32602: unknown tool ({\"name\":\"x\"})"),
        (late, "timeout", 408, "did not answer within 50ms"),
        (new, "communication", 502, "speaks the revision \"1999-01-01\" of MCP"),
        (elsewhere, "DENIED", 0, "MUSTER_HTTP_ALLOW"),
    ] {
        let raised = world.outward("mcp", call).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), (kind, status), "{raised:?}");
        assert!(raised.2.contains(part), "{raised:?}");
    }
}

const SCRIPT: &str = r#"
import json, os, sys
def send(message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") == "initialize":
        print("starting", flush=True)
        send({"id": 99, "method": "ping"})
        assert json.loads(sys.stdin.readline()) == {"jsonrpc": "2.0", "id": 99, "result": {}}
        send({"id": asked["id"], "result": {"protocolVersion": "2025-06-18", "capabilities": {}}})
    elif asked.get("method") == "resources/read":
        if asked["params"]["uri"] == "bad:":
            sys.stderr.write("the disk is full")
            sys.exit(3)
        seen = {name: value for name, value in os.environ.items() if name.startswith(("MUSTER", "NATS", "TOKEN"))}
        send({"id": asked["id"], "result": {"environment": seen, "argument": sys.argv[1]}})
"#;

fn stdio(command: &str, uri: &str) -> Value {
    json!({
        "method": "resources/read", "parameters": { "uri": uri },
        "transport": { "stdio": {
            "command": command, "arguments": ["-c", SCRIPT, "one"],
            "environment": { "TOKEN": "Bearer \u{FDD0}api\u{FDD1}" },
        } },
    })
}

#[tokio::test]
async fn a_server_that_is_a_process_is_started_where_the_operator_allows_it() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("api"), "s3cret").unwrap();
    let world = World::with("", folder.path().to_str().unwrap()).await;
    let read = world.outward("mcp", stdio("python3", "a:")).await.unwrap();
    // What is secret comes to the server, and not back.
    assert_eq!(read, json!({ "environment": { "TOKEN": "Bearer ***" }, "argument": "one" }));
    let ended = world.outward("mcp", stdio("python3", "bad:")).await.unwrap_err();
    assert_eq!((ended.0.as_str(), ended.1), ("communication", 502), "{ended:?}");
    assert!(ended.2.contains("ended before it answered: the disk is full"), "{ended:?}");
    let silent = world.outward("mcp", stdio("true", "a:")).await.unwrap_err();
    assert_eq!((silent.0.as_str(), silent.1), ("communication", 502), "{silent:?}");
    let denied = world.outward("mcp", stdio("sh", "a:")).await.unwrap_err();
    assert_eq!(denied.0, "DENIED");
    assert!(denied.2.contains("MUSTER_MCP_COMMANDS of the tool service, now \"python3,true\""));
}
