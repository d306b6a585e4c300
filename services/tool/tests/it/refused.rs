//! What a server refuses: what passes by itself is tried again, and not before the server wants it.

use muster_contracts::Code;
use muster_contracts::tool::v1::{ListToolsRequest, RegisterToolRequest};
use serde_json::json;

use crate::World;
use crate::registered::definition;
use crate::server::Server;

fn tool(server: &Server, name: &str, method: &str, path: &str) -> RegisterToolRequest {
    definition(name, "http", json!({ "method": method, "endpoint": server.url(path) }))
}

#[tokio::test]
async fn a_refusal_has_a_code_by_its_status_and_the_wait_that_the_server_wants() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let names = [
        ("busy", "post", "/status/429/7", Code::Exhausted, Some(7_000)),
        ("counting", "get", "/status/429/-", Code::Exhausted, Some(1_000)),
        ("away", "post", "/status/503/2", Code::Unavailable, Some(2_000)),
        ("gone", "get", "/status/503/-/get", Code::Unavailable, None),
        ("unclear", "post", "/status/503/-/post", Code::Conflict, None),
        ("between", "post", "/status/502/-", Code::Conflict, None),
        ("wrong", "post", "/status/422/-", Code::Conflict, None),
        ("never", "get", "/status/429/86400", Code::Conflict, None),
    ];
    for (name, method, path, code, wait) in names {
        world.register(tool(&server, name, method, path)).await.unwrap();
        let fault = world.call(name, "", json!({})).await.unwrap_err();
        assert_eq!((fault.code, fault.retry_after_ms), (code, wait), "{name}: {fault}");
        assert!(fault.message.contains("later"), "{name}: {fault}");
    }
    let told = |name: &'static str| world.call(name, "", json!({}));
    // A second try has what the first had not.
    assert_eq!(told("busy").await.unwrap().result.unwrap().0, json!({ "count": 2 }));
    let status = world.register(tool(&server, "other", "post", "/status/418/-")).await;
    status.unwrap();
    let fault = told("other").await.unwrap_err();
    assert_eq!(fault.details["problem"]["status"], 418, "{fault}");
    let fault = world.call("between", "", json!({})).await;
    assert!(fault.is_ok());
}

#[tokio::test]
async fn a_command_waits_as_long_as_the_server_wants_and_is_done_then() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    world.register(tool(&server, "busy", "post", "/status/429/1")).await.unwrap();
    world.register(tool(&server, "away", "put", "/status/503/-")).await.unwrap();
    world.command("busy", "k1", json!({})).await;
    world.command("away", "k2", json!({})).await;
    for end in world.ends(2).await {
        assert_eq!(end.result, Ok(json!({ "count": 2 })), "{}", end.key);
    }
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn a_server_of_mcp_that_is_busy_says_so() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let with = json!({ "endpoint": server.url("/status/429/5") });
    let shown = world.register(definition("mcp", "mcp", with)).await.unwrap();
    assert!(shown.problem.contains("it answered 429: later"), "{}", shown.problem);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused_in_one_way_by_every_kind() {
    let server = Server::start().await;
    let world = World::start().await;
    let allow = format!("MUSTER_HTTP_ALLOW=\"{}\"", server.address);
    world.register(tool(&server, "http", "get", "/x")).await.unwrap();
    // What has tools is registered all the same, and says why there are none.
    let document = definition("doc", "openapi", json!({ "document": server.url("/openapi.json") }));
    let endpoint = definition("mcp", "mcp", json!({ "endpoint": server.url("/mcp") }));
    for source in [document, endpoint] {
        let shown = world.register(source).await.unwrap();
        assert!(shown.problem.contains(&allow), "{}", shown.problem);
    }
    let operation = json!({ "document": server.url("/openapi.json"), "operationId": "x" });
    let refused = world.register(definition("op", "openapi", operation)).await.unwrap_err();
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Denied, None), "{refused}");
    for name in ["http", "doc__x", "mcp__x"] {
        let fault = world.call(name, "", json!({})).await.unwrap_err();
        assert_eq!((fault.code, fault.retry_after_ms), (Code::Denied, None), "{name}: {fault}");
        assert!(fault.message.contains(&allow), "{name}: {fault}");
    }
    for names in ["doc__*", "mcp__*"] {
        let names = vec![names.to_owned()];
        let fault = world.bus.request(&ListToolsRequest { names }).await.unwrap_err();
        assert_eq!(fault.code, Code::Denied, "{fault}");
    }
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_server_of_mcp_is_told_in_our_words() {
    let server = Server::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = closed.local_addr().unwrap();
    drop(closed);
    let world = World::allowing(&format!("{},{nobody}", server.address)).await;
    let at = |path: &str| json!({ "endpoint": server.url(path) });
    for (name, with, said) in [
        ("odd", at("/odd"), "it answered"),
        ("text", at("/text"), "it answered 200: plain"),
        ("away", at("/status/500/-"), "it answered 500: later"),
        ("locked", at("/status/403/-"), "it answered 403: later"),
        ("nobody", json!({ "endpoint": format!("http://{nobody}/mcp") }), "nobody"),
        ("ends", json!({ "command": "true" }), "it did not say hello"),
        ("mute", json!({ "command": "python3", "arguments": ["-c", "print('x'); input()"] }), ""),
    ] {
        let shown = world.register(definition(name, "mcp", with)).await.unwrap();
        let fault = world.call(&format!("{name}__x"), "", json!({})).await.unwrap_err();
        for told in [&shown.problem, &fault.message] {
            assert!(told.starts_with(&format!("the MCP server {name:?}")), "{told}");
            for internal in ["rmcp", "::", "ransport", "Some(", "JsonRpc", "Mcp error", "expect "] {
                assert!(!told.contains(internal), "{name}: {internal}: {told}");
            }
            assert!(told.contains(said), "{name}: {told}");
        }
    }
}
