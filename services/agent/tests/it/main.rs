//! The agent service alone on a real nats-server; model and tools are played by routes of the test.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus, MessageId, Recorded, Routes, Settings};
use muster_contracts::agent::v1::{
    AgentDefinition, AgentExecutionCompleted, AgentExecutionFailed, AgentExecutionRequested,
    GetAgentRequest, Limits, PutAgentRequest, RunEntry,
};
use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::llm::v1::{
    ChatMessage, CompleteRequest, CompleteResponse, TokenUsage, ToolCall,
};
use muster_contracts::tool::v1::{
    CallToolRequest, ListToolsRequest, ToolDefinition, ToolList, ToolResult,
};
use muster_contracts::{Code, Fault, Json, JsonObject, Message, Stream, subject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually};
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

const LONG: Duration = Duration::from_secs(20);

/// How often each key was asked for.
type Asked = Arc<Mutex<BTreeMap<String, u32>>>;

#[derive(Clone, Default)]
struct Peers {
    asked: Asked,
}

struct World {
    nats: NatsServer,
    bus: Bus,
    peers: Peers,
    service: Option<Running>,
    _peers: DropGuard,
}

fn reply(content: &str, tool_calls: Vec<ToolCall>) -> CompleteResponse {
    CompleteResponse {
        message: Some(ChatMessage {
            role: "assistant".into(),
            content: content.into(),
            tool_calls,
            ..Default::default()
        }),
        finish_reason: "stop".into(),
        usage: Some(TokenUsage { input_tokens: 10, output_tokens: 5, estimated: false }),
        provider: "played".into(),
        ..Default::default()
    }
}

fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: String::new(),
        name: name.into(),
        arguments: Some(JsonObject::wrap(arguments)),
        ..Default::default()
    }
}

/// Plays a model. The agent's instructions say which part.
async fn model(peers: Peers, request: CompleteRequest) -> Result<CompleteResponse, Fault> {
    let times = {
        let mut asked = peers.asked.lock().unwrap();
        let times = asked.entry(request.idempotency_key.clone()).or_default();
        *times += 1;
        *times
    };
    let part = request.messages[0].content.split_whitespace().next().unwrap_or_default().to_owned();
    let last = request.messages.last().unwrap();
    let turn = request.messages.iter().filter(|message| message.role == "assistant").count();
    match part.as_str() {
        "slow" => {
            tokio::time::sleep(Duration::from_millis(700)).await;
            Ok(if turn < 2 {
                reply("", vec![call("double", json!({ "n": turn }))])
            } else {
                reply(&format!("after {turn} turns"), vec![])
            })
        }
        "tools" if turn == 0 => Ok(reply(
            "",
            vec![
                call("double", json!({"n": 1})),
                call("fail", json!({})),
                call("unknown", json!({})),
            ],
        )),
        "tools" => Ok(reply(
            &request
                .messages
                .iter()
                .filter(|message| message.role == "tool")
                .map(|message| message.content.clone())
                .collect::<Vec<_>>()
                .join("\n"),
            vec![],
        )),
        "busy" if times == 1 => {
            Err(Fault::new(Code::Exhausted, "rate limit").with_retry_after_ms(300))
        }
        "refuse" => Err(Fault::new(Code::Denied, "no such key")),
        "endless" => Ok(reply("", vec![call("double", json!({"n": 1}))])),
        "schema" if turn == 0 => Ok(reply("not json", vec![])),
        "schema" => Ok(reply("{\"content\": true}", vec![])),
        "never-json" => Ok(reply("not json", vec![])),
        _ => Ok(reply(
            &format!(
                "You said: {}. {}",
                last.content,
                "A long report has many sentences. ".repeat(400)
            ),
            vec![],
        )),
    }
}

async fn tool(peers: Peers, request: CallToolRequest) -> Result<ToolResult, Fault> {
    *peers.asked.lock().unwrap().entry(request.idempotency_key.clone()).or_default() += 1;
    if request.name == "fail" {
        return Err(Fault::new(Code::Invalid, "argument `x` is missing"));
    }
    let n =
        request.arguments.unwrap_or_default().get("n").and_then(Value::as_i64).unwrap_or_default();
    Ok(ToolResult { result: Some(Json(json!({ "doubled": n * 2 }))), ..Default::default() })
}

async fn tools(_peers: Peers, request: ListToolsRequest) -> Result<ToolList, Fault> {
    if let Some(unknown) = request.names.iter().find(|name| *name == "nothing") {
        return Err(Fault::new(Code::NotFound, format!("there is no tool {unknown:?}")));
    }
    Ok(ToolList {
        tools: request
            .names
            .into_iter()
            .map(|name| ToolDefinition { name, ..Default::default() })
            .collect(),
    })
}

fn serve(nats: &NatsServer) -> Running {
    start([muster_agent::service()], &[("NATS_URL", nats.url()), ("MUSTER_ACK_WAIT", "1")])
}

impl World {
    async fn new() -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::open(Settings::new("peers", nats.url())).await.unwrap();
        bus.ready().await;
        let (peers, stop) = (Peers::default(), CancellationToken::new());
        let routes = Routes::new(peers.clone()).rpc(model).rpc(tool).rpc(tools);
        tokio::spawn({
            let (bus, stop) = (bus.clone(), stop.clone());
            async move { routes.serve(&bus, stop).await }
        });
        let service = Some(serve(&nats));
        let world = Self { nats, bus, peers, service, _peers: stop.drop_guard() };
        eventually(LONG, "agent and its peers answer", || async {
            let unknown = world.bus.request(&GetAgentRequest { name: "x".into() }).await;
            let listed = world.bus.request(&ListToolsRequest::default()).await;
            unknown.is_err_and(|fault| fault.code == Code::NotFound) && listed.is_ok()
        })
        .await;
        world
    }

    async fn put(&self, definition: AgentDefinition) -> Result<AgentDefinition, Fault> {
        self.bus.request(&PutAgentRequest { definition: Some(definition) }).await
    }

    /// Registers an agent that plays this part, and asks it.
    async fn ask(&self, part: &str, input: Value) {
        let definition =
            AgentDefinition { tools: vec!["double".into(), "fail".into()], ..agent(part) };
        self.put(definition).await.unwrap();
        self.request(part, "e1", input).await;
    }

    async fn request(&self, agent: &str, execution: &str, input: Value) {
        let command = AgentExecutionRequested {
            execution_id: execution.into(),
            task: "/do/0/ask@1".into(),
            agent: agent.into(),
            input: Some(Json(input)),
        };
        self.bus.publish(&command, &MessageId::derived(["ask", execution])).await.unwrap();
    }

    /// Every event of this type, the first of them after at most `LONG`.
    async fn first<M: Message>(&self, pattern: &str) -> M {
        let mut events =
            Box::pin(self.bus.follow(Stream::Executions, vec![pattern.to_owned()], After(0)));
        tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().decode().unwrap()
    }

    async fn completed(&self) -> AgentExecutionCompleted {
        self.first("agent.execution.completed").await
    }

    async fn failed(&self) -> AgentExecutionFailed {
        self.first("agent.execution.failed").await
    }

    /// The deliverable that a notice tells of.
    async fn deliverable(&self, notice: &Value) -> Deliverable {
        let address: Vec<&str> = notice["deliverable"].as_str().unwrap().split('/').collect();
        let address = Deliverable {
            agent: address[1].into(),
            r#type: address[2].into(),
            feature: address[3].into(),
            ..Default::default()
        };
        self.bus.latest(&address).await.unwrap().unwrap().1
    }
}

fn agent(part: &str) -> AgentDefinition {
    AgentDefinition {
        name: part.into(),
        instructions: format!("{part} is your part."),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_answer_is_stored_once_and_told_by_a_small_notice() {
    let world = World::new().await;
    world.ask("talk", json!("hello")).await;
    let event = world.completed().await;
    let notice = event.output.unwrap().0;
    let deliverable = world.deliverable(&notice).await;
    assert!(deliverable.content.starts_with("You said: hello."));
    assert_eq!(notice["tokens"], json!(deliverable.tokens));
    assert!(deliverable.tokens > 2000 && notice.to_string().len() < 1000, "{notice}");
    let usage = event.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.model_calls), (10, 5, 1));
}

#[tokio::test]
async fn a_notice_in_the_input_saves_what_its_deliverable_would_cost() {
    let world = World::new().await;
    world.ask("talk", json!("hello")).await;
    let notice = world.completed().await.output.unwrap().0;
    world.request("talk", "e2", json!({ "question": "and?", "report": notice })).await;
    let mut events = Box::pin(world.bus.follow(
        Stream::Executions,
        vec!["agent.execution.completed".into()],
        After(0),
    ));
    let second =
        events.by_ref().skip(1).next().await.unwrap().decode::<AgentExecutionCompleted>().unwrap();
    let usage = second.usage.unwrap();
    assert_eq!(json!(usage.pasted_tokens), notice["tokens"]);
    assert!(f64::from(usage.saved_tokens) > 0.95 * f64::from(usage.pasted_tokens), "{usage:?}");
}

#[tokio::test]
async fn tools_are_called_and_their_errors_are_told_to_the_model() {
    let world = World::new().await;
    world.ask("tools", json!("go")).await;
    let event = world.completed().await;
    let content = world.deliverable(&event.output.unwrap().0).await.content;
    let lines: Vec<&str> = content.lines().collect();
    assert_eq!(lines[0], "{\"doubled\":2}");
    assert!(lines[1].contains("argument `x` is missing"), "{content}");
    assert!(
        lines[2].contains("no tool `unknown`") && lines[2].contains("double, fail"),
        "{content}"
    );
    assert_eq!(event.usage.unwrap().tool_calls, 3);
}

#[tokio::test]
async fn a_crash_goes_on_behind_the_last_recorded_step_and_ends_once() {
    let mut world = World::new().await;
    world.ask("slow", json!("go")).await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        world.service.take().unwrap().crash();
        world.service = Some(serve(&world.nats));
    }
    let event = world.completed().await;
    assert_eq!(world.deliverable(&event.output.unwrap().0).await.content, "after 2 turns");
    let journal: Vec<Recorded> = world
        .bus
        .follow(Stream::Executions, vec![subject::pattern("journal.{a}.{b}")], After(0))
        .take_until(tokio::time::sleep(Duration::from_secs(1)))
        .collect()
        .await;
    let facts: Vec<Value> = journal
        .iter()
        .map(|entry| entry.decode::<RunEntry>().unwrap().fact.unwrap().0["type"].clone())
        .collect();
    assert_eq!(
        facts,
        [
            "run_started",
            "model_replied",
            "tool_returned",
            "model_replied",
            "tool_returned",
            "model_replied",
            "run_completed"
        ]
    );
    let ends: Vec<Recorded> = world
        .bus
        .follow(Stream::Executions, vec!["agent.execution.completed".into()], After(0))
        .take_until(tokio::time::sleep(Duration::from_secs(1)))
        .collect()
        .await;
    assert_eq!(ends.len(), 1);
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_busy_model_is_asked_again_with_the_same_key() {
    let world = World::new().await;
    world.ask("busy", json!("hello")).await;
    world.completed().await;
    assert_eq!(world.peers.asked.lock().unwrap().values().copied().collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_model_that_refuses_fails_the_run_with_its_reason() {
    let world = World::new().await;
    world.ask("refuse", json!("hello")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "DENIED");
    assert!(event.error.contains("no such key"), "{}", event.error);
}

#[tokio::test]
async fn a_run_that_finds_no_end_fails_at_its_limit() {
    let world = World::new().await;
    let limits = Some(Limits { turns: 3, ..Default::default() });
    world
        .put(AgentDefinition { tools: vec!["double".into()], limits, ..agent("endless") })
        .await
        .unwrap();
    world.request("endless", "e1", json!("go")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "EXHAUSTED");
    assert!(event.error.contains("3 turns"), "{}", event.error);
    assert_eq!(event.usage.unwrap().model_calls, 3);
}

#[tokio::test]
async fn a_structured_answer_is_mended_once_and_is_data_of_the_notice() {
    let world = World::new().await;
    let schema = Some(JsonObject::wrap(
        json!({"type": "object", "properties": {"content": {"type": "boolean"}}, "required": ["content"]}),
    ));
    world.put(AgentDefinition { output_schema: schema.clone(), ..agent("schema") }).await.unwrap();
    world.request("schema", "e1", json!("judge")).await;
    assert_eq!(world.completed().await.output.unwrap()["data"], json!({"content": true}));
    world.put(AgentDefinition { output_schema: schema, ..agent("never-json") }).await.unwrap();
    world.request("never-json", "e2", json!("judge")).await;
    assert_eq!(world.failed().await.code, "INVALID");
}

#[tokio::test]
async fn an_unknown_agent_fails_the_task_and_names_those_that_are_there() {
    let world = World::new().await;
    world.put(agent("talk")).await.unwrap();
    world.request("nobody", "e1", json!("hello")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "NOT_FOUND");
    assert!(event.error.contains("\"nobody\"") && event.error.contains("talk"), "{}", event.error);
}

#[tokio::test]
async fn a_definition_that_names_an_unknown_tool_or_a_reserved_word_is_refused() {
    let world = World::new().await;
    let fault = world
        .put(AgentDefinition { tools: vec!["nothing".into()], ..agent("a") })
        .await
        .unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("\"nothing\""), "{fault:?}");
    let fault = world.put(agent("execution")).await.unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("execution"), "{fault:?}");
}
