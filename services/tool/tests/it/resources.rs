//! What is at an address that a workflow names.

use muster_contracts::tool::v1::{FetchResourceRequest, Resource};
use muster_contracts::{Code, Fault, JsonObject};
use serde_json::json;

use crate::World;
use crate::server::Server;

async fn fetch(world: &World, uri: String, policy: Option<JsonObject>) -> Result<Resource, Fault> {
    let request = FetchResourceRequest { uri, authentication: policy, ..Default::default() };
    world.bus.request(&request).await
}

#[tokio::test]
async fn a_resource_is_read_with_its_authentication_and_through_redirects() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let policy = JsonObject::wrap(json!({"basic": {"username": "a", "password": "b"}}));
    let text = fetch(&world, server.url("/text"), Some(policy)).await.unwrap().text;
    assert_eq!(text, "plain");
    assert_eq!(server.asked()[0].headers["authorization"], "Basic YTpi");
    let there = format!("/to?{}", server.url("/text"));
    assert_eq!(fetch(&world, server.url(&there), None).await.unwrap().text, "plain");
}

#[tokio::test]
async fn what_cannot_be_had_is_told() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let code = async |uri: String| fetch(&world, uri, None).await.unwrap_err();
    let denied = code("http://example.com/x".to_owned()).await;
    assert_eq!(denied.code, Code::Denied);
    assert!(denied.message.contains("MUSTER_HTTP_ALLOW"), "{denied}");
    let large = code(server.url("/large")).await;
    assert!(large.message.contains("larger than 1048576 bytes"), "{large}");
    let secret = JsonObject::wrap(json!({"basic": {"use": "nobodys"}}));
    let fault = fetch(&world, server.url("/text"), Some(secret)).await.unwrap_err();
    assert!(fault.message.contains("nobodys"), "{fault}");
}
