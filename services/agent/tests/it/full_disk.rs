//! A broker without room: nothing is recorded, and nothing is lost.

use muster_bus::{MessageId, Settings};
use muster_contracts::Code;
use muster_contracts::agent::v1::{AgentDefinition, GetAgentRequest};
use muster_contracts::workflow::v1::CallCancelled;
use muster_testkit::{NatsServer, eventually};
use serde_json::{Value, json};

use crate::world::{LONG, World, agent};

/// Of every stream's share, so that a small store has room for all of them.
const PERCENT: u8 = 1;

/// Takes all room that the server has left.
async fn fill(nats: &NatsServer) {
    let client = nats.client("operator").await;
    let ask = async |subject: &'static str, body: Vec<u8>| {
        let reply = client.request(subject, body.into()).await.unwrap();
        serde_json::from_slice::<Value>(&reply.payload).unwrap()
    };
    let config = json!({ "name": "FILLER", "subjects": ["filler"], "storage": "file" });
    let made = ask("$JS.API.STREAM.CREATE.FILLER", config.to_string().into()).await;
    assert!(made["error"].is_null(), "{made}");
    let megabyte = vec![b'x'; 1 << 20];
    let mut messages = 0;
    while ask("filler", megabyte.clone()).await["error"].is_null() {
        messages += 1;
        assert!(messages < 400, "the store takes more than it has");
    }
}

async fn make_room(nats: &NatsServer) {
    let client = nats.client("operator").await;
    client.request("$JS.API.STREAM.DELETE.FILLER", "".into()).await.unwrap();
}

#[tokio::test]
async fn a_run_that_meets_a_full_disk_goes_on_when_there_is_room() {
    let nats = NatsServer::start_with_store("max_file_store: 100MB").await;
    let settings = Settings { bytes_percent: PERCENT, ..nats.settings("peers") };
    let percent = PERCENT.to_string();
    let more = [("NATS_STREAM_BYTES_PERCENT", percent.as_str())];
    let world = World::with(nats, settings, &more).await;
    let gated = AgentDefinition { tools: vec!["double".into()], ..agent("gated") };
    world.put(gated).await.unwrap();
    world.request("gated", "e1", json!("go")).await;
    eventually(LONG, "the model is asked", || async { world.peers.asked().len() == 1 }).await;
    fill(&world.nats).await;
    // Whoever wants something written down is told why it is not.
    let event =
        CallCancelled { execution_id: "e2".into(), task: "/do/0".into(), ..Default::default() };
    let fault = world.bus.publish(&event, &MessageId::random()).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    assert!(fault.message.contains("resource"), "{fault}");
    // The reply cannot be recorded, so that it is asked for again, under its key.
    world.peers.gate.add_permits(1);
    eventually(LONG, "the turn is tried again", || async {
        world.peers.asked().values().any(|times| *times > 1)
    })
    .await;
    assert_eq!(world.facts("gated").await, ["run_started"]);
    // The process lives, and answers what needs no room.
    let get = GetAgentRequest { name: "gated".into(), ..Default::default() };
    assert_eq!(world.bus.request(&get).await.unwrap().name, "gated");
    make_room(&world.nats).await;
    let end = world.completed().await;
    assert_eq!(world.deliverable(&end.output.unwrap().0).await.content, "{\"doubled\":42}");
    let facts = ["run_started", "model_replied", "tool_returned", "model_replied", "run_completed"];
    assert_eq!(world.facts("gated").await, facts);
    assert_eq!(world.ends().await, 1);
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}
