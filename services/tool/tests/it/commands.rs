//! Calling tools for tasks of a workflow.

use muster_bus::Routes;
use muster_contracts::Json;
use muster_contracts::tool::v1::{CallToolRequest, ToolExecutionStarted, ToolResult};
use muster_contracts::{Addressed, Fault, Stream, subject};
use serde_json::json;

use crate::server::Server;
use crate::{World, connect};

#[tokio::test]
async fn a_command_ends_with_one_event_whatever_comes_of_it() {
    let world = World::start().await;
    world.command("echo", "a", json!({ "value": 7 })).await;
    world.command("calculate", "b", json!({ "expression": "1 +" })).await;
    world.command("nope", "c", json!({})).await;
    world.command("search", "d", json!({ "query": "q" })).await;
    world.command("http_request", "e", json!({ "url": "http://a/" })).await;
    world.command("a.b", "f", json!({})).await;
    let ends = world.ends(6).await;
    assert_eq!(ends[0].result, Ok(json!(7)));
    let code = |at: usize| ends[at].result.clone().unwrap_err().0;
    assert_eq!(
        [code(1), code(2), code(3), code(4), code(5)],
        ["INVALID", "NOT_FOUND", "INVALID", "DENIED", "INVALID"]
    );
    let (_, text) = ends[2].result.clone().unwrap_err();
    assert!(
        text.contains("there is no tool \"nope\"") && text.contains("calculate, echo"),
        "{text}"
    );
    let pattern = subject::pattern(ToolExecutionStarted::SUBJECT);
    let started = world.bus.follow(Stream::Executions, vec![pattern], muster_bus::After(0));
    let started: Vec<_> = futures::StreamExt::collect(futures::StreamExt::take(started, 6)).await;
    assert_eq!(started.len(), 6);
    assert!(world.bus.dead_letters().list(10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_command_that_comes_twice_has_one_effect_and_one_end() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    for _ in 0..5 {
        let arguments = json!({ "url": server.url("/pay"), "method": "POST" });
        world.command("http_request", "k1", arguments).await;
    }
    world.command("echo", "z", json!({ "value": 1 })).await;
    let ends = world.ends(2).await;
    assert_eq!((ends[0].key.as_str(), ends[1].key.as_str()), ("k1", "z"));
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_worker_on_the_bus_serves_a_tool_of_its_own() {
    let world = World::start().await;
    let bus = connect(&world.nats, "worker").await;
    let shout = async |_app: (), request: CallToolRequest| {
        let text = request.arguments.unwrap_or_default()["text"]
            .as_str()
            .unwrap_or_default()
            .to_uppercase();
        Ok::<_, Fault>(ToolResult { result: Some(Json(json!(text))), ..Default::default() })
    };
    let address = CallToolRequest { name: "shout".into(), ..Default::default() };
    let routes = Routes::new(()).rpc_for(&[address], shout).unwrap();
    let serving = tokio::spawn(async move { routes.serve(&bus, Default::default()).await });
    world.command("shout", "a", json!({ "text": "ahoy" })).await;
    assert_eq!(world.ends(1).await[0].result, Ok(json!("AHOY")));
    serving.abort();
}
