//! The offline provider through the bus.

use muster_contracts::llm::v1::{CompleteRequest, Parameters};
use muster_contracts::{Code, JsonObject};
use muster_runtime::testing::start;
use muster_testkit::NatsServer;
use serde_json::json;

use crate::{World, ask, connect, request, tool, user};

#[tokio::test]
async fn without_key_and_address_the_default_is_offline_and_says_so() {
    let nats = NatsServer::start().await;
    let _service = start([muster_model::service()], &nats.env(&[]));
    let bus = connect(&nats).await;
    let request = CompleteRequest {
        messages: vec![user("Boats come at noon. The crane is broken.")],
        ..request("k1")
    };
    let reply = ask(&bus, &request).await.unwrap();
    assert_eq!((reply.provider.as_str(), reply.model.as_str()), ("offline", "offline"));
    assert_eq!(reply.message.unwrap().content, "Boats come at noon. The crane is broken.");
    let fault =
        ask(&bus, &CompleteRequest { provider: "openai".into(), ..request }).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("OPENAI_API_KEY"), "{fault}");
}

#[tokio::test]
async fn a_script_asks_for_tools_and_streams_its_answer() {
    let world = World::start().await;
    let script = json!({ "turns": [
        { "when": "input.deep", "tools": [{ "name": "search", "arguments": { "query": "{{ input.q }}" } }] },
        { "answer": { "text": "Asked: {{ input.q }} in full." } },
    ] });
    let offline = |key: &str, input: serde_json::Value| CompleteRequest {
        provider: "offline".into(),
        messages: vec![user(&input.to_string())],
        tools: vec![tool("search")],
        offline: Some(JsonObject::wrap(script.clone())),
        ..request(key)
    };
    let reply = world.ask(&offline("k1", json!({ "q": "cranes", "deep": true }))).await.unwrap();
    assert_eq!(reply.finish_reason, "tool_calls");
    assert_eq!(reply.message.unwrap().tool_calls[0].name, "search");
    let shallow = CompleteRequest {
        session: "s2".into(),
        params: Some(Parameters { max_tokens: 3, ..Default::default() }),
        ..offline("k2", json!({ "q": "cranes" }))
    };
    let reply = world.ask(&shallow).await.unwrap();
    assert_eq!(reply.finish_reason, "length");
    assert!(reply.usage.unwrap().estimated);
    let streamed: String =
        world.tokens("s2").await.iter().map(|token| token.delta.as_str()).collect();
    assert_eq!(Some(streamed), reply.message.map(|message| message.content));
    let broken = CompleteRequest {
        offline: Some(JsonObject::wrap(json!({ "turns": 1 }))),
        ..offline("k3", json!({}))
    };
    assert_eq!(world.ask(&broken).await.unwrap_err().code, Code::Invalid);
    assert!(world.model.requests().is_empty());
}
