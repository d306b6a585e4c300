//! Tools that workers serve.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::StreamExt;
use futures::future::join_all;
use muster_bus::Routes;
use muster_contracts::tool::v1::{
    CallToolRequest, ListToolsRequest, RegisterToolRequest, ToolResult, UnregisterToolRequest,
};
use muster_contracts::{Code, Fault, Json, JsonObject};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::{NO_NAMES, World, connect};

/// A worker that shouts, hangs or fails as its argument `text` says, and counts its calls.
struct Worker {
    calls: Arc<AtomicU32>,
    serving: JoinHandle<()>,
}

impl Worker {
    async fn start(world: &World, name: &str) -> Self {
        let bus = connect(&world.nats, "worker").await;
        let calls = Arc::new(AtomicU32::new(0));
        let address = CallToolRequest { name: name.into(), ..Default::default() };
        let routes = Routes::new(calls.clone()).rpc_for(&[address], work).unwrap();
        let serving =
            tokio::spawn(async move { routes.serve(&bus, Default::default()).await.unwrap() });
        Self { calls, serving }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn work(calls: Arc<AtomicU32>, request: CallToolRequest) -> Result<ToolResult, Fault> {
    calls.fetch_add(1, Ordering::SeqCst);
    let arguments = request.arguments.unwrap_or_default();
    match arguments.get("text").and_then(serde_json::Value::as_str).unwrap_or_default() {
        "hang" => pending().await,
        "deep" => {
            let deep = (0..123).fold(json!([]), |inner, _| json!([inner]));
            Ok(ToolResult { result: Some(Json(deep)), ..Default::default() })
        }
        "large" => {
            let large = json!("x".repeat(10_000_000));
            Ok(ToolResult { result: Some(Json(large)), ..Default::default() })
        }
        "refuse" => Err(Fault::new(Code::Denied, "not before noon")),
        text => {
            Ok(ToolResult { result: Some(Json(json!(text.to_uppercase()))), ..Default::default() })
        }
    }
}

fn shout(effect: &str) -> RegisterToolRequest {
    let parameters = json!({ "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] });
    RegisterToolRequest {
        name: "shout".into(),
        description: "Says it loudly.".into(),
        parameters: Some(JsonObject::wrap(parameters)),
        effect: effect.into(),
        timeout_ms: 20_000,
        ..Default::default()
    }
}

/// The same for calls that hang: their time is over soon.
fn hasty(effect: &str) -> RegisterToolRequest {
    RegisterToolRequest { timeout_ms: 3_000, ..shout(effect) }
}

async fn until_served(world: &World) {
    muster_testkit::eventually(crate::DEADLINE, "the worker answers", || {
        world.call("shout", "", json!({ "text": "ready" }))
    })
    .await;
}

#[tokio::test]
async fn a_registered_tool_is_listed_called_and_forgotten() {
    let world = World::start().await;
    let shown = world.bus.request(&shout("idempotent")).await.unwrap();
    assert_eq!((shown.kind.as_str(), shown.effect.as_str()), ("worker", "idempotent"));
    assert_eq!(shown.timeout_ms, 20_000);
    let listed = world.bus.request(&NO_NAMES).await.unwrap().tools;
    assert_eq!(listed.iter().find(|tool| tool.name == "shout"), Some(&shown));
    let unserved = world.call("shout", "k1", json!({ "text": "ahoy" })).await.unwrap_err();
    assert_eq!(
        (unserved.code, unserved.message.as_str()),
        (Code::Unavailable, "no worker answers tools.shout: start it")
    );
    let worker = Worker::start(&world, "shout").await;
    until_served(&world).await;
    let unfit = world.call("shout", "k1", json!({ "text": 7 })).await.unwrap_err();
    assert!(unfit.message.contains("at /text: 7 is not of type"), "{unfit}");
    let large = json!({ "text": "x".repeat(600_000) });
    let refused = world.call("shout", "k0", large).await.unwrap_err();
    assert!(refused.message.contains("must have at most 524288"), "{refused}");
    let before = worker.calls();
    let calls = (0..20).map(|_| world.call("shout", "k1", json!({ "text": "ahoy" })));
    for result in join_all(calls).await {
        assert_eq!(result.unwrap().result.unwrap().0, "AHOY");
    }
    assert_eq!(worker.calls(), before + 1);
    let refused = world.call("shout", "k2", json!({ "text": "refuse" })).await.unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (Code::Denied, "not before noon"));

    let deep = world.call("shout", "k3", json!({ "text": "deep" })).await.unwrap_err();
    assert!(deep.message.contains("the tool shout answered a result that nests deeper"), "{deep}");
    let large = world.call("shout", "k4", json!({ "text": "large" })).await.unwrap_err();
    assert!(large.message.contains("the tool shout answered 10000002 bytes"), "{large}");
    // Not INVALID: who asks has asked well.
    assert_eq!((deep.code, large.code), (Code::Conflict, Code::Conflict));

    let gone = UnregisterToolRequest { name: "shout".into() };
    assert_eq!(world.bus.request(&gone).await.unwrap(), shown);
    let again = world.bus.request(&gone).await.unwrap_err();
    assert_eq!(again.code, Code::NotFound, "{again}");
    let some = ListToolsRequest { names: vec!["shout".into()] };
    assert_eq!(world.bus.request(&some).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_worker_that_ends_in_the_middle_of_a_once_call_is_not_asked_again() {
    let world = World::start().await;
    world.bus.request(&hasty("once")).await.unwrap();
    let worker = Worker::start(&world, "shout").await;
    until_served(&world).await;
    let before = worker.calls();
    world.command("shout", "a", json!({ "text": "hang" })).await;
    let (code, text) = world.ends(1).await[0].result.clone().unwrap_err();
    assert_eq!(code, "CONFLICT");
    assert!(text.contains("interrupted") && text.contains("class is once"), "{text}");
    let again = world.call("shout", "a", json!({ "text": "hang" })).await.unwrap_err();
    assert_eq!(again.code, Code::Conflict);
    assert_eq!(worker.calls(), before + 1);
}

#[tokio::test]
async fn a_worker_that_answers_nonsense_is_not_blamed_on_who_asks() {
    for (effect, expected) in
        [("idempotent", "the worker of tools.shout answered no result"), ("once", "interrupted")]
    {
        let world = World::start().await;
        world.bus.request(&shout(effect)).await.unwrap();
        let worker = world.nats.client("worker").await;
        let group = muster_contracts::permissions::queue_group("worker");
        let mut calls = worker.queue_subscribe("tools.shout", group.to_string()).await.unwrap();
        let answering = tokio::spawn(async move {
            while let Some(call) = calls.next().await {
                worker.publish(call.reply.unwrap(), "not json".into()).await.unwrap();
            }
        });
        let fault = muster_testkit::eventually(crate::DEADLINE, "the worker is heard", || async {
            let fault = world.call("shout", "k1", json!({ "text": "x" })).await.unwrap_err();
            if fault.code == Code::Unavailable { Err(fault) } else { Ok(fault) }
        })
        .await;
        assert_eq!(fault.code, Code::Conflict, "{fault}");
        assert!(fault.message.contains(expected), "{fault}");
        answering.abort();
    }
}

#[tokio::test]
async fn a_late_worker_is_told_as_late_where_a_second_call_does_no_harm() {
    let world = World::start().await;
    world.bus.request(&hasty("pure")).await.unwrap();
    let worker = Worker::start(&world, "shout").await;
    until_served(&world).await;
    let late = world.call("shout", "a", json!({ "text": "hang" })).await.unwrap_err();
    assert_eq!(late.code, Code::Deadline);
    assert!(late.message.contains("the tool shout did not answer within 3000 ms"), "{late}");
    let before = worker.calls();
    muster_testkit::eventually(crate::DEADLINE, "a second call is answered", || {
        world.call("shout", "a", json!({ "text": "now" }))
    })
    .await;
    assert!(worker.calls() > before);
}

#[tokio::test]
async fn a_wrong_definition_is_refused_and_a_built_in_tool_stays() {
    let world = World::start().await;
    let refused = async |change: fn(&mut RegisterToolRequest), part: &str| {
        let mut request = shout("");
        change(&mut request);
        let fault = world.bus.request(&request).await.unwrap_err();
        assert!(fault.message.contains(part), "{part}: {fault}");
        fault.code
    };
    assert_eq!(refused(|tool| tool.name = "echo".into(), "built in").await, Code::Conflict);
    assert_eq!(refused(|tool| tool.name = "a.b".into(), "`name` is").await, Code::Invalid);
    let wrong_type: fn(&mut RegisterToolRequest) = |tool| {
        tool.parameters =
            Some(JsonObject::wrap(json!({ "properties": { "text": { "type": "words" } } })));
    };
    assert_eq!(
        refused(wrong_type, "is no JSON Schema that can be used: \"words\" is not valid").await,
        Code::Invalid
    );
    let remote: fn(&mut RegisterToolRequest) = |tool| {
        tool.parameters = Some(JsonObject::wrap(json!({ "$ref": "http://127.0.0.1:1/s.json" })));
    };
    assert_eq!(refused(remote, "does not refer to a part of it").await, Code::Invalid);
    let gone = UnregisterToolRequest { name: "echo".into() };
    assert_eq!(world.bus.request(&gone).await.unwrap_err().code, Code::Conflict);
}
