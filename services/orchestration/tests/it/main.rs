//! Orchestration alone on a real nats-server; its peers are played by routes of the test.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod children;
mod control;
mod dead_starts;
mod events;
mod externals;
mod lifecycle;
mod long;
mod secrets;
mod time_travel;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_bus::{Bus, Delivery, MessageId, Routes};
use muster_contracts::agent::v1::{
    AgentDefinition, AgentExecutionCompleted, AgentExecutionFailed, AgentExecutionRequested,
    GetAgentRequest,
};
use muster_contracts::tool::v1::{ToolExecutionCompleted, ToolExecutionRequested};
use muster_contracts::vector::v1::{Hit, SearchRequest, SearchResponse};
use muster_contracts::workflow::v1::{
    ExecutionState, GetExecutionRequest, GetWorkflowRequest, PutWorkflowRequest, StartExecution,
    WorkflowDefinition,
};
use muster_contracts::{Code, Fault, Json};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

const LONG: Duration = Duration::from_secs(60);

struct World {
    nats: NatsServer,
    bus: Bus,
    service: Option<Running>,
    /// How often each key was called.
    calls: Calls,
    _peers: DropGuard,
}

type Calls = Arc<Mutex<BTreeMap<String, u32>>>;

#[derive(Clone)]
struct Peers {
    bus: Bus,
    calls: Calls,
}

/// An agent that answers `{"echo": input}`, fails for the input "fail", and stays silent for "silent".
async fn agent(peers: Peers, command: Delivery<AgentExecutionRequested>) -> Result<(), Fault> {
    *peers
        .calls
        .lock()
        .unwrap()
        .entry(format!("{}{}", command.execution_id, command.task))
        .or_default() += 1;
    let input = command.input.clone().unwrap_or_default().0;
    let (execution_id, task, agent) =
        (command.execution_id.clone(), command.task.clone(), command.agent.clone());
    let id = MessageId::derived(["done", &command.id]);
    if input == json!("silent") {
        return Ok(());
    }
    let is_first = !command.task.ends_with("@2");
    if input == json!("fail") || (input == json!("fail first") && is_first) {
        let event = AgentExecutionFailed {
            execution_id,
            task,
            agent,
            code: "EXHAUSTED".into(),
            error: "out of turns".into(),
            ..Default::default()
        };
        return peers.bus.publish(&event, &id).await.map(drop);
    }
    let event = AgentExecutionCompleted {
        execution_id,
        task,
        agent,
        output: Some(Json(json!({ "echo": input }))),
        ..Default::default()
    };
    peers.bus.publish(&event, &id).await.map(drop)
}

/// A tool that tells its arguments back; before that it tells of a call that an agent made for the same task.
async fn tool(peers: Peers, command: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    if command.tool == "broken" {
        return Err(Fault::new(Code::Invalid, "the tool is broken"));
    }
    let event = |result: Value, idempotency_key: &str| ToolExecutionCompleted {
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        tool: command.tool.clone(),
        result: Some(Json(result)),
        idempotency_key: idempotency_key.into(),
        ..Default::default()
    };
    peers.bus.publish(&event(json!("of an agent"), "another key"), &MessageId::random()).await?;
    let result = command.arguments.clone().unwrap_or_default().into_value();
    peers
        .bus
        .publish(
            &event(result, &command.idempotency_key),
            &MessageId::derived(["done", &command.id]),
        )
        .await
        .map(drop)
}

async fn known_agent(_peers: Peers, request: GetAgentRequest) -> Result<AgentDefinition, Fault> {
    if request.name == "nobody" {
        Err(Fault::new(Code::NotFound, "no agent \"nobody\""))
    } else {
        Ok(AgentDefinition { name: request.name, ..Default::default() })
    }
}

async fn search(_peers: Peers, request: SearchRequest) -> Result<SearchResponse, Fault> {
    if request.collection == "none" {
        return Err(Fault::new(Code::NotFound, "collection \"none\" is not there"));
    }
    Ok(SearchResponse {
        hits: vec![Hit { text: request.query, ..Default::default() }],
        ..Default::default()
    })
}

impl World {
    async fn new() -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::open(nats.settings("peers")).await.unwrap();
        bus.ready().await;
        let calls = Calls::default();
        let peers = CancellationToken::new();
        let routes = Routes::new(Peers { bus: bus.clone(), calls: calls.clone() })
            .on(agent)
            .on(tool)
            .rpc(known_agent)
            .rpc(search)
            .rpc(externals::resource);
        tokio::spawn({
            let (bus, stop) = (bus.clone(), peers.clone());
            async move { routes.serve(&bus, stop).await }
        });
        let service = Some(serve(&nats));
        let world = Self { nats, bus, service, calls, _peers: peers.drop_guard() };
        eventually(LONG, "orchestration and its peers answer", || async {
            let asked = world
                .bus
                .request(&GetWorkflowRequest { name: "none".into(), ..Default::default() })
                .await;
            let agents = world
                .bus
                .request(&GetAgentRequest { name: "a".into(), ..Default::default() })
                .await;
            asked.is_err_and(|fault| fault.code == Code::NotFound) && agents.is_ok()
        })
        .await;
        world
    }

    async fn put(&self, source: &str) -> Result<WorkflowDefinition, Fault> {
        self.bus.request(&PutWorkflowRequest { source: source.into(), ..Default::default() }).await
    }

    async fn start(&self, id: &str, definition: &WorkflowDefinition, input: Value) {
        let command = StartExecution {
            execution_id: id.into(),
            workflow: definition.name.clone(),
            version: definition.version.clone(),
            digest: definition.digest.clone(),
            input: Some(Json(input)),
            ..Default::default()
        };
        self.bus.publish(&command, &MessageId::derived(["start", id])).await.unwrap();
    }

    async fn state(&self, id: &str) -> Result<ExecutionState, Fault> {
        self.bus.request(&GetExecutionRequest { execution_id: id.into() }).await
    }

    async fn ended(&self, id: &str) -> ExecutionState {
        eventually(LONG, "the execution ends", || async {
            match self.state(id).await {
                Ok(state) if matches!(state.status.as_str(), "completed" | "faulted") => Ok(state),
                other => Err(other),
            }
        })
        .await
    }

    /// Registers a workflow with these tasks, runs it, and returns how it ended.
    async fn run(&self, tasks: &str, input: Value) -> ExecutionState {
        let definition = self.put(&workflow("w", tasks)).await.unwrap();
        self.start("e1", &definition, input).await;
        self.ended("e1").await
    }
}

fn serve(nats: &NatsServer) -> Running {
    start([muster_orchestration::service()], &nats.env(&[("MUSTER_ACK_WAIT", "1")]))
}

fn workflow(name: &str, tasks: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: test, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}"
    )
}

const THREE_STEPS: &str = "
- one: {call: agent, with: {agent: a, input: '${ .n }'}}
- two: {call: tool, with: {tool: t, arguments: {x: '${ .echo }'}}}
- three: {set: {result: '${ .x + 1 }'}}
";

#[tokio::test]
async fn a_workflow_runs_through_agents_tools_and_expressions() {
    let world = World::new().await;
    let state = world.run(THREE_STEPS, json!({"n": 41})).await;
    assert_eq!(
        (state.status.as_str(), state.output),
        ("completed", Some(Json(json!({"result": 42}))))
    );
    assert_eq!(
        state.tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
}

#[tokio::test]
async fn search_is_asked_and_its_error_can_be_caught() {
    let world = World::new().await;
    let tasks = "
- found: {call: search, with: {collection: c, query: '${ .q }'}, export: {as: '${ .hits[0] | {text, chunk} }'}}
- tried:
    try:
    - missing: {call: search, with: {collection: none, query: x}}
    catch:
      as: error
      do:
      - told: {set: {status: '${ $error.status }', detail: '${ $error.detail }', found: '${ $context }'}}
";
    let state = world.run(tasks, json!({"q": "hello"})).await;
    assert_eq!(
        state.output,
        Some(Json(json!({
            "status": 404, "detail": "collection \"none\" is not there", "found": {"text": "hello", "chunk": 0}
        }))),
        "{state:?}"
    );
}

#[tokio::test]
async fn an_agent_that_fails_faults_the_execution_with_a_standard_error() {
    let world = World::new().await;
    let state = world.run("- one: {call: agent, with: {agent: a, input: fail}}", Value::Null).await;
    assert_eq!(state.status, "faulted");
    let error = state.error.unwrap();
    assert_eq!(
        (&error["status"], &error["detail"], &error["instance"]),
        (&json!(429), &json!("out of turns"), &json!("/do/0/one"))
    );
}

#[tokio::test]
async fn timers_end_waits() {
    let world = World::new().await;
    let state = world
        .run("- nap: {wait: {milliseconds: 300}}\n- done: {set: {ok: true}}", Value::Null)
        .await;
    assert_eq!(state.output, Some(Json(json!({"ok": true}))));
}

#[tokio::test]
async fn branches_of_a_fork_run_and_join() {
    let world = World::new().await;
    let tasks = "
- both:
    fork:
      branches:
      - left: {call: agent, with: {agent: a, input: l}}
      - right: {call: agent, with: {agent: a, input: r}}
";
    let state = world.run(tasks, Value::Null).await;
    assert_eq!(state.output, Some(Json(json!([{"echo": "l"}, {"echo": "r"}]))), "{state:?}");
}

#[tokio::test]
async fn a_start_that_comes_twice_is_one_execution() {
    let world = World::new().await;
    let definition = world.put(&workflow("w", THREE_STEPS)).await.unwrap();
    world.start("e1", &definition, json!({"n": 1})).await;
    world.ended("e1").await;
    let again = StartExecution {
        execution_id: "e1".into(),
        workflow: "w".into(),
        digest: definition.digest.clone(),
        input: Some(Json(json!({"n": 1}))),
        ..Default::default()
    };
    // Under another id, so that the broker does not drop it.
    world.bus.publish(&again, &MessageId::random()).await.unwrap();
    world.start("e2", &definition, json!({"n": 1})).await;
    world.ended("e2").await;
    assert_eq!(world.calls.lock().unwrap().values().sum::<u32>(), 2);
}

#[tokio::test]
async fn a_crash_at_any_moment_loses_and_doubles_nothing() {
    let mut world = World::new().await;
    let definition = world.put(&workflow("w", THREE_STEPS)).await.unwrap();
    for n in 0..40 {
        world.start(&format!("e{n}"), &definition, json!({"n": n})).await;
        if n % 8 == 4 {
            world.service.take().unwrap().crash();
            world.service = Some(serve(&world.nats));
        }
    }
    for n in 0..40 {
        assert_eq!(
            world.ended(&format!("e{n}")).await.output,
            Some(Json(json!({"result": n + 1})))
        );
    }
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (40, Some(&1)));
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn two_replicas_share_the_executions_and_double_nothing() {
    let world = World::new().await;
    let _second = serve(&world.nats);
    let definition = world.put(&workflow("w", THREE_STEPS)).await.unwrap();
    // One after the other, so that each replica holds states that the other has moved on.
    for n in 0..60 {
        let id = format!("e{n}");
        world.start(&id, &definition, json!({"n": n})).await;
        assert_eq!(world.ended(&id).await.output, Some(Json(json!({"result": n + 1}))));
    }
    assert_eq!(world.calls.lock().unwrap().values().max(), Some(&1));
}

#[tokio::test]
async fn a_command_that_nobody_can_handle_fails_its_task() {
    let world = World::new().await;
    let state = world
        .run("- one: {call: tool, with: {tool: '${ \"\" }', arguments: {}}}", Value::Null)
        .await;
    assert_eq!(state.status, "faulted", "{state:?}");
}

#[tokio::test]
async fn a_workflow_with_an_unknown_agent_is_refused_with_its_name_and_place() {
    let world = World::new().await;
    let fault = world
        .put(&workflow("w", "- one: {call: agent, with: {agent: nobody, input: x}}"))
        .await
        .unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(
        fault.message.contains("/do/0/one") && fault.message.contains("\"nobody\""),
        "{}",
        fault.message
    );
}

#[tokio::test]
async fn a_version_is_registered_once_and_never_changes() {
    let world = World::new().await;
    let first = world.put(&workflow("w", "- one: {set: {a: 1}}")).await.unwrap();
    let again = world.put(&workflow("w", "- one: {set: {a: 1}}")).await.unwrap();
    assert!(first.created && !again.created);
    assert_eq!(first.digest, again.digest);
    let fault = world.put(&workflow("w", "- one: {set: {a: 2}}")).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert!(fault.message.contains("raise document.version"), "{}", fault.message);
}

#[tokio::test]
async fn a_bad_document_is_refused_with_every_problem() {
    let world = World::new().await;
    let fault = world
        .put(&workflow("w", "- one: {call: grpc, with: {}}\n- two: {dance: {}}"))
        .await
        .unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.details["problems"].as_array().unwrap().len() >= 2, "{fault:?}");
    assert_eq!(world.put("document: [").await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn the_state_of_an_unknown_execution_is_not_found() {
    let world = World::new().await;
    assert_eq!(world.state("e404").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_command_that_becomes_a_dead_letter_fails_its_task_however_large_it_is() {
    let world = World::new().await;
    let tasks = "
- call: {call: tool, with: {tool: broken, arguments: {text: '${ .text }'}}}
";
    // Above 8 KiB it is compressed.
    let state = world.run(tasks, json!({ "text": "word ".repeat(20_000) })).await;
    assert_eq!(state.status, "faulted");
    let error = serde_json::to_string(&state.error).unwrap();
    assert!(error.contains("could not be handled after 1 tries: the tool is broken"), "{error}");
}
