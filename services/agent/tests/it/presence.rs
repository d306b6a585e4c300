//! How agents are: one truth, in however many processes their runs are.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::Stream;
use muster_contracts::agent::v1::{AgentExecutionCancelled, AgentStatus, GetAgentStatusRequest};
use muster_contracts::workflow::v1::CallCancelled;
use muster_testkit::eventually;
use serde_json::json;

use crate::world::{LONG, TASK, World, agent, serve, serve_with};

/// One run at a time, so that the next one is in the other process.
const ONE: [(&str, &str); 1] = [("MUSTER_AGENT_CONCURRENCY", "1")];

async fn is(world: &World, expected: &str) {
    let asked = GetAgentStatusRequest { agent_id: "echo".into() };
    eventually(LONG, expected, || async {
        // What crashed a moment ago may get the question, and never answers it.
        let answer = world.bus.request_within(&asked, Duration::from_secs(2)).await;
        answer.is_ok_and(|status| status.status == expected)
    })
    .await;
}

async fn asked(world: &World, count: usize) {
    eventually(LONG, "the model is asked", || async { world.peers.asked().len() == count }).await;
}

async fn cancel(world: &World, execution: &str) {
    let event =
        CallCancelled { execution_id: execution.into(), task: TASK.into(), ..Default::default() };
    world.bus.publish(&event, &MessageId::random()).await.unwrap();
    let cancelled = vec!["agent.execution.cancelled".to_owned()];
    let mut events = pin!(world.bus.follow(Stream::Executions, cancelled, After(0)));
    loop {
        let event = tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap();
        if event.decode::<AgentExecutionCancelled>().unwrap().execution_id == execution {
            return;
        }
    }
}

/// What was told of the agent so far, up to its next rest.
async fn told(world: &World, rests: usize) -> Vec<String> {
    let subject = vec!["agent.echo.status".to_owned()];
    let mut events = pin!(world.bus.follow(Stream::AgentPresence, subject, After(0)));
    let mut told: Vec<String> = Vec::new();
    while told.iter().filter(|status| *status == "idle").count() < rests {
        let event = tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap();
        // Questions are in the stream, too.
        let status = event.decode::<AgentStatus>().unwrap().status;
        told.extend(Some(status).filter(|status| !status.is_empty()));
    }
    told
}

#[tokio::test]
async fn an_agent_runs_as_long_as_a_run_of_it_is_open_anywhere() {
    let mut world = World::new().await;
    world.put(agent("echo")).await.unwrap();
    world.service.take().unwrap().crash();
    let _replicas = [serve_with(&world.nats, &ONE), serve_with(&world.nats, &ONE)];
    for (count, execution) in [(1, "e1"), (2, "e2")] {
        world.request("echo", execution, json!("hold")).await;
        asked(&world, count).await;
    }
    is(&world, "running").await;
    cancel(&world, "e2").await;
    // The process of the second run is free again: it takes a third, and has told whatever it had to tell.
    world.request("echo", "e3", json!("hello")).await;
    world.completed_of("e3").await;
    is(&world, "running").await;
    cancel(&world, "e1").await;
    is(&world, "idle").await;
    assert_eq!(told(&world, 1).await, ["running", "idle"]);
}

#[tokio::test]
async fn what_crashed_runs_until_it_goes_on_elsewhere_or_is_ended() {
    let mut world = World::new().await;
    world.put(agent("echo")).await.unwrap();
    world.request("echo", "e1", json!("hold")).await;
    asked(&world, 1).await;
    is(&world, "running").await;
    world.service.take().unwrap().crash();
    // Nobody wants it any more: whoever finds it ends it without going on.
    world.peers.unwanted("e1");
    world.service = Some(serve(&world.nats));
    let _cancelled: AgentExecutionCancelled = world.first("agent.execution.cancelled").await;
    is(&world, "idle").await;
    assert_eq!(told(&world, 1).await, ["running", "idle"]);
    assert_eq!(world.peers.asked().into_values().collect::<Vec<_>>(), [1]);
}
