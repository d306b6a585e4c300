//! What a run survives.

use muster_contracts::agent::v1::{AgentDefinition, Limits};
use muster_testkit::eventually;
use serde_json::json;

use crate::world::{LONG, World, agent, serve};

#[tokio::test]
async fn a_crash_in_the_middle_of_every_turn_repeats_only_that_turn() {
    let mut world = World::new().await;
    world.ask("deaf", json!("go")).await;
    for turn in 1..=3 {
        eventually(LONG, "the model is asked the next turn", || async {
            world.peers.asked().keys().filter(|key| key.ends_with(&format!("/{turn}"))).count() == 1
        })
        .await;
        world.service.take().unwrap().crash();
        world.service = Some(serve(&world.nats));
    }
    let event = world.completed().await;
    assert_eq!(world.deliverable(&event.output.unwrap().0).await.content, "after 2 turns");
    let facts = [
        "run_started",
        "model_replied",
        "tool_returned",
        "model_replied",
        "tool_returned",
        "model_replied",
        "run_completed",
    ];
    assert_eq!(world.facts("deaf").await, facts);
    // A question that was never answered is asked again under its key; what was recorded is not.
    // Where a busy machine gives no sign of life in time, a question comes once more.
    let times: Vec<u32> = world.peers.asked().into_values().collect();
    let [first, 1, second, 1, third] = times.as_slice() else { panic!("{times:?}") };
    assert!([first, second, third].iter().all(|times| **times >= 2), "{times:?}");
    assert_eq!(world.ends().await, 1);
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_runners_of_one_run_write_one_journal_and_one_end() {
    let world = World::new().await;
    world.ask("tools", json!("go")).await;
    world.request("tools", "e1", json!("go")).await;
    world.completed().await;
    let facts = [
        "run_started",
        "model_replied",
        "tool_returned",
        "tool_returned",
        "tool_returned",
        "model_replied",
        "run_completed",
    ];
    assert_eq!(world.ends().await, 1);
    assert_eq!(world.facts("tools").await, facts);
}

#[tokio::test]
async fn a_busy_model_is_asked_again_with_the_same_key() {
    let world = World::new().await;
    world.ask("busy", json!("hello")).await;
    world.completed().await;
    assert_eq!(world.peers.asked().into_values().collect::<Vec<_>>(), [2]);
    // Who follows the run sees why it stands still.
    let facts = ["run_started", "model_delayed", "model_replied", "run_completed"];
    assert_eq!(world.facts("busy").await, facts);
}

#[tokio::test]
async fn a_tool_service_that_stays_away_fails_the_run_and_leaves_no_dead_letter() {
    let world = World::new().await;
    let limits = Some(Limits { seconds: 3, ..Default::default() });
    world
        .put(AgentDefinition { tools: vec!["lost".into()], limits, ..agent("talk") })
        .await
        .unwrap();
    world.request("talk", "e1", json!("go")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "UNAVAILABLE");
    assert!(event.error.contains("the tools of agent \"talk\""), "{}", event.error);
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_silent_model_ends_the_run_when_its_time_is_over() {
    let world = World::new().await;
    let limits = Some(Limits { seconds: 1, ..Default::default() });
    world.put(AgentDefinition { limits, ..agent("silent") }).await.unwrap();
    world.request("silent", "e1", json!("go")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "DEADLINE");
    assert!(event.error.contains("limits.seconds"), "{}", event.error);
}
