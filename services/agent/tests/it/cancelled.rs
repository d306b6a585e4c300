//! Runs that nobody waits for any more.

use muster_bus::MessageId;
use muster_contracts::agent::v1::AgentExecutionCancelled;
use muster_contracts::workflow::v1::CallCancelled;
use muster_testkit::eventually;
use serde_json::json;

use crate::world::{LONG, TASK, World, serve};

#[tokio::test]
async fn a_cancelled_run_stops_in_the_middle_of_its_turn_and_tells_what_it_spent() {
    let world = World::new().await;
    world.ask("silent", json!("go")).await;
    eventually(LONG, "the model is asked", || async { world.peers.asked().len() == 1 }).await;
    let event =
        CallCancelled { execution_id: "e1".into(), task: TASK.into(), ..Default::default() };
    world.bus.publish(&event, &MessageId::random()).await.unwrap();
    let event: AgentExecutionCancelled = world.first("agent.execution.cancelled").await;
    assert_eq!((event.task.as_str(), event.agent.as_str()), (TASK, "silent"));
    assert!(event.usage.is_some());
    assert_eq!(world.facts("silent").await, ["run_started", "run_cancelled"]);
    // It is over: whoever gets the command again does nothing.
    world.request("silent", "e1", json!("go")).await;
    assert_eq!(world.ends().await, 0);
    assert_eq!(world.facts("silent").await, ["run_started", "run_cancelled"]);
}

#[tokio::test]
async fn a_model_that_hears_of_the_cancellation_first_fails_no_run() {
    let world = World::new().await;
    world.ask("hearing", json!("go")).await;
    eventually(LONG, "the model is asked", || async { world.peers.asked().len() == 1 }).await;
    let event =
        CallCancelled { execution_id: "e1".into(), task: TASK.into(), ..Default::default() };
    world.bus.publish(&event, &MessageId::random()).await.unwrap();
    let event: AgentExecutionCancelled = world.first("agent.execution.cancelled").await;
    assert_eq!(event.agent, "hearing");
    assert_eq!(world.facts("hearing").await, ["run_started", "run_cancelled"]);
}

#[tokio::test]
async fn a_cancelled_run_that_waits_in_the_queue_does_not_begin() {
    let mut world = World::new().await;
    world.put(crate::world::agent("talk")).await.unwrap();
    world.service.take().unwrap().crash();
    world.peers.unwanted("e1");
    world.request("talk", "e1", json!("go")).await;
    world.service = Some(serve(&world.nats));
    let _event: AgentExecutionCancelled = world.first("agent.execution.cancelled").await;
    assert_eq!(world.facts("talk").await, ["run_cancelled"]);
    assert!(world.peers.asked().is_empty());
}
