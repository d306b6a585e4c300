//! Executions that are long, large or many.

use std::fmt::Write as _;
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::agent::v1::AgentExecutionCompleted;
use muster_contracts::workflow::v1::{
    ExecutionCompleted, ExecutionFailed, ExecutionState, GetExecutionRequest,
};
use muster_contracts::{Addressed, Code, Json, Stream};
use muster_runtime::testing::start;
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{LONG, World, serve, workflow};

/// More than the entries between two snapshots.
const BRANCHES: usize = 520;

/// Many calls at the same time, and then one that nobody answers.
fn fan_out() -> String {
    let mut tasks = "\n- all:\n    fork:\n      branches:\n".to_owned();
    for n in 0..BRANCHES {
        writeln!(tasks, "      - b{n}: {{call: agent, with: {{agent: a, input: {n}}}}}").unwrap();
    }
    tasks + "- last: {call: agent, with: {agent: a, input: silent}}\n"
}

/// An execution that waits for its last task, with a snapshot behind it.
async fn long() -> (World, ExecutionState) {
    let world = World::new().await;
    let definition = world.put(&workflow("w", &fan_out())).await.unwrap();
    world.start("e1", &definition, Value::Null).await;
    let state = eventually(LONG, "the last task begins", || async {
        let state = world.state("e1").await.map_err(|fault| fault.message)?;
        if state.tasks.iter().any(|task| task.name == "last") {
            Ok(state)
        } else {
            Err(state.status)
        }
    })
    .await;
    (world, state)
}

async fn restart(world: &mut World) {
    world.service.take().unwrap().crash();
    world.service = Some(serve(&world.nats));
}

/// A request that the crashed process got is not answered: it is asked again soon.
async fn state_after_restart(world: &World) -> ExecutionState {
    let request = GetExecutionRequest { execution_id: "e1".into() };
    let soon = Duration::from_secs(10);
    eventually(LONG * 2, "the state is told", || world.bus.request_within(&request, soon)).await
}

async fn finish(world: &World) -> ExecutionState {
    let event = AgentExecutionCompleted {
        execution_id: "e1".into(),
        task: "/do/1/last".into(),
        agent: "a".into(),
        output: Some(Json(json!("done"))),
        ..Default::default()
    };
    world.bus.publish(&event, &MessageId::derived(["done", "last"])).await.unwrap();
    world.ended("e1").await
}

#[tokio::test]
async fn an_execution_goes_on_from_its_snapshot_and_what_came_after_it() {
    let (mut world, before) = long().await;
    let artifacts = world.bus.artifacts();
    eventually(LONG, "a snapshot", || async { artifacts.get("snapshots/e1").await.unwrap() }).await;
    // What the snapshot has is not asked for again: it need not even be there.
    let operator = world.nats.client("operator").await;
    let purge = json!({"filter": "journal.e1", "keep": 30}).to_string();
    let purged = operator.request("$JS.API.STREAM.PURGE.EXECUTIONS", purge.into()).await.unwrap();
    assert!(String::from_utf8_lossy(&purged.payload).contains("\"success\":true"));
    restart(&mut world).await;
    assert_eq!(state_after_restart(&world).await, before);
    // An input from before the snapshot is known, and changes nothing.
    world.start("e1", &world.put(&workflow("w", &fan_out())).await.unwrap(), json!("again")).await;
    let ended = finish(&world).await;
    assert_eq!((ended.output, ended.tasks.len()), (Some(Json(json!("done"))), BRANCHES + 2));
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (BRANCHES + 1, Some(&1)));
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_or_not_there_changes_nothing() {
    let (mut world, before) = long().await;
    let artifacts = world.bus.artifacts();
    let whole = artifacts.get("snapshots/e1").await.unwrap().unwrap();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    let half = whole.slice(..middle);
    for damaged in [Some(half), Some(flipped.into()), Some("rubbish".into()), Some("".into()), None]
    {
        match damaged {
            Some(body) => artifacts.put("snapshots/e1", body).await.unwrap(),
            None => artifacts.delete("snapshots/e1").await.unwrap(),
        }
        restart(&mut world).await;
        assert_eq!(state_after_restart(&world).await, before);
    }
    // That of another execution is not taken for its own.
    artifacts.put("snapshots/e2", whole).await.unwrap();
    assert_eq!(world.state("e2").await.unwrap_err().code, Code::NotFound);
    assert_eq!(finish(&world).await.status, "completed");
}

/// Runs a workflow, and asks for its large state only once.
async fn run_large(world: &World, tasks: &str, input: Value) -> ExecutionState {
    let definition = world.put(&workflow("w", tasks)).await.unwrap();
    let ends = vec![ExecutionCompleted::SUBJECT.to_owned(), ExecutionFailed::SUBJECT.to_owned()];
    let mut told = Box::pin(world.bus.follow(Stream::Executions, ends, After(0)));
    world.start("e1", &definition, input).await;
    // Megabytes take a slow machine many seconds in a program that is not optimized.
    tokio::time::timeout(LONG * 5, told.next()).await.unwrap().unwrap();
    let request = GetExecutionRequest { execution_id: "e1".into() };
    world.bus.request_within(&request, LONG * 5).await.unwrap()
}

// Megabytes take long in a program that is not optimized: the test and the service have a thread each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_megabytes_go_in_through_tasks_and_calls_and_out() {
    let mut world = World::new().await;
    let text = "0123456789".repeat(1_000_000);
    let tasks = "
- copied: {set: {text: '${ .text }', also: 1}}
- told: {call: tool, with: {tool: t, arguments: {text: '${ .text }'}}}
- kept: {set: {text: '${ .text }'}, export: {as: '${ {bytes: (.text | length)} }'}}
";
    let state = run_large(&world, tasks, json!({ "text": text })).await;
    assert_eq!(state.status, "completed", "{:?}", state.error);
    assert!(state.output.as_ref().is_some_and(|output| output.0["text"] == json!(text)));
    restart(&mut world).await;
    let again = state_after_restart(&world).await;
    assert!(again == state, "the journal gives the same");
}

// Megabytes take long in a program that is not optimized: the test and the service have a thread each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_to_be_told_ends_with_an_error() {
    let world = World::new().await;
    let tasks = "
- one: {set: {text: '${ .text }', more: '${ .text }'}}
";
    let state = run_large(&world, tasks, json!({ "text": "x".repeat(6_000_000) })).await;
    assert_eq!(state.status, "faulted");
    let error = serde_json::to_string(&state.error).unwrap();
    assert!(error.contains("the workflow's output has more than"), "{error}");
}

#[tokio::test]
async fn waiting_executions_survive_a_restart_and_take_no_room() {
    const COUNT: usize = 1_000;
    let mut world = World::new().await;
    let few = [("MUSTER_ACK_WAIT", "1"), ("MUSTER_ORCHESTRATION_HOT", "20")];
    let tasks = "
- nap: {wait: {seconds: 3}}
- done: {set: {n: '${ .n }'}}
";
    let definition = world.put(&workflow("w", tasks)).await.unwrap();
    let start_one = |n: usize| world.start_as(n, &definition);
    futures::future::join_all((0..COUNT).map(start_one)).await;
    world.service.take().unwrap().crash();
    world.nats.restart().await;
    world.service = Some(start([muster_orchestration::service()], &world.nats.env(&few)));
    for n in 0..COUNT {
        let state = world.ended(&format!("e{n}")).await;
        assert_eq!(state.output, Some(Json(json!({ "n": n }))));
    }
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn executions_with_endless_expressions_hold_up_nobody() {
    const HOSTILE: usize = 12;
    let world = World::new().await;
    let endless = "- loop: {set: {a: '${ last(range(1e18)) }'}}";
    let endless = world.put(&workflow("endless", endless)).await.unwrap();
    let quick = world.put(&workflow("quick", "- one: {set: {n: '${ .n }'}}")).await.unwrap();
    futures::future::join_all((0..HOSTILE).map(|n| world.start_as(n, &endless))).await;
    world.start("quick", &quick, json!({"n": 1})).await;
    assert_eq!(world.ended("quick").await.output, Some(Json(json!({"n": 1}))));
    for n in 0..HOSTILE {
        let state = world.ended(&format!("e{n}")).await;
        let error = serde_json::to_string(&state.error).unwrap();
        assert!(error.contains("more than 200000 steps"), "{error}");
    }
}

/// Those that find no room come again later, and hold no slot until then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_endless_expressions_than_slots_hold_up_nobody() {
    const HOSTILE: usize = 24;
    const SLOTS: usize = 8;
    let mut world = World::new().await;
    let endless = "- loop: {set: {a: '${ last(range(1e18)) }', b: '${ last(range(1e18)) }'}}";
    let endless = world.put(&workflow("endless", endless)).await.unwrap();
    let quick = world.put(&workflow("quick", "- one: {set: {n: '${ .n }'}}")).await.unwrap();
    world.service.take().unwrap().stop().await;
    let few = world.nats.env(&[("MUSTER_ORCHESTRATION_CONCURRENCY", &SLOTS.to_string())]);
    world.service = Some(start([muster_orchestration::service()], &few));
    futures::future::join_all((0..HOSTILE).map(|n| world.start_as(n, &endless))).await;
    world.start("quick", &quick, json!({"n": 1})).await;
    assert_eq!(world.ended("quick").await.output, Some(Json(json!({"n": 1}))));
    let mut over = 0;
    for n in 0..HOSTILE {
        over +=
            usize::from(world.state(&format!("e{n}")).await.is_ok_and(|s| s.status == "faulted"));
    }
    assert!(over <= HOSTILE - SLOTS, "it waited for {over} of {HOSTILE} with {SLOTS} slots");
    for n in 0..HOSTILE {
        let state = world.ended(&format!("e{n}")).await;
        let error = serde_json::to_string(&state.error).unwrap();
        assert!(error.contains("more than 200000 steps"), "{error}");
    }
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

impl World {
    async fn start_as(
        &self,
        n: usize,
        definition: &muster_contracts::workflow::v1::WorkflowDefinition,
    ) {
        self.start(&format!("e{n}"), definition, json!({ "n": n })).await;
    }
}
