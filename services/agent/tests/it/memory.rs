//! How long agents remember.

use muster_bus::{Bucket, Bus};
use muster_contracts::agent::v1::{AgentDefinition, MemorySettings};
use muster_contracts::thread::v1::{ListMemoryRequest, MemoryItem};
use muster_contracts::time;
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{LONG, World, agent};

async fn register(world: &World, ttl_seconds: u64) {
    let memory = Some(MemorySettings { ttl_seconds, ..MemorySettings::default() });
    world.put(AgentDefinition { memory, ..agent("memo") }).await.unwrap();
}

async fn told(world: &World) -> Vec<MemoryItem> {
    let request = ListMemoryRequest { agent: "memo".into(), tenant: String::new() };
    world.bus.request(&request).await.unwrap().items
}

#[tokio::test]
async fn what_is_over_is_neither_told_nor_kept() {
    let world = World::new().await;
    register(&world, 1).await;
    world.request("memo", "e1", json!("tea is green")).await;
    world.completed_of("e1").await;
    eventually(LONG, "nothing is told any more", || async { told(&world).await.is_empty() }).await;
    // As the service itself sees its bucket: the text is gone from there as well.
    let bus = Bus::open(world.nats.settings("agent")).await.unwrap();
    bus.ready().await;
    let kept = bus.kv::<Value>(Bucket::Threads).get("memories._.memo").await.unwrap().unwrap();
    assert_eq!(kept.value, json!({ "items": [] }));
}

#[tokio::test]
async fn what_is_remembered_again_is_renewed() {
    let world = World::new().await;
    register(&world, 3_600).await;
    for (execution, text) in [("e1", "tea is green"), ("e2", "milk is white")] {
        world.request("memo", execution, json!(text)).await;
        world.completed_of(execution).await;
    }
    let before = told(&world).await;
    world.request("memo", "e3", json!("tea is green")).await;
    world.completed_of("e3").await;
    let after = told(&world).await;
    let contents =
        |items: &[MemoryItem]| items.iter().map(|item| item.content.clone()).collect::<Vec<_>>();
    assert_eq!(contents(&before), ["milk is white", "tea is green"]);
    assert_eq!(contents(&after), ["tea is green", "milk is white"]);
    let ends = |items: &[MemoryItem], place: usize| time(items[place].expires_at.as_ref());
    assert!(ends(&after, 0) > ends(&before, 1), "{before:?} {after:?}");
    assert_eq!((ends(&after, 1), after[0].execution_id.as_str()), (ends(&before, 0), "e3"));
}
