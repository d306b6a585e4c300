//! The service under test with its played peers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus, MessageId, Routes, Settings};
use muster_contracts::agent::v1::{
    AgentDefinition, AgentExecutionCompleted, AgentExecutionFailed, AgentExecutionRequested,
    GetAgentRequest, PutAgentRequest, RunEntry,
};
use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::llm::v1::{
    ChatMessage, CompleteRequest, CompleteResponse, TokenUsage, ToolCall,
};
use muster_contracts::tool::v1::{
    ExecuteToolRequest, ListToolsRequest, ToolDefinition, ToolList, ToolResult,
};
use muster_contracts::workflow::v1::{CallState, GetCallRequest};
use muster_contracts::{Code, Fault, Json, JsonObject, Message, Stream, subject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually};
use serde_json::{Value, json};
use tokio::sync::{Barrier, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{engine, parts};

pub(crate) const LONG: Duration = Duration::from_secs(60);
pub(crate) const TASK: &str = "/do/0/ask@1";
/// The names of registered tools that have a description begin so.
pub(crate) const MANY: &str = "many_";

#[derive(Clone)]
pub(crate) struct Peers {
    /// How often each key was asked for.
    asked: Arc<Mutex<BTreeMap<String, u32>>>,
    /// What the model was asked, in its order.
    questions: Arc<Mutex<Vec<CompleteRequest>>>,
    /// Executions whose answer nobody wants.
    unwanted: Arc<Mutex<BTreeSet<String>>>,
    /// The first question of each key to a gated model waits here.
    pub(crate) gate: Arc<Semaphore>,
    /// Two calls that wait for each other come only side by side.
    pair: Arc<Barrier>,
    bus: Arc<OnceLock<Bus>>,
}

pub(crate) struct World {
    pub(crate) nats: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) peers: Peers,
    pub(crate) service: Option<Running>,
    _peers: DropGuard,
}

impl Peers {
    fn new() -> Self {
        Self {
            asked: Arc::default(),
            questions: Arc::default(),
            unwanted: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            pair: Arc::new(Barrier::new(2)),
            bus: Arc::default(),
        }
    }

    /// Counts this time; the first is 1.
    fn ask(&self, key: &str) -> u32 {
        let mut asked = self.asked.lock().unwrap();
        let times = asked.entry(key.to_owned()).or_default();
        *times += 1;
        *times
    }

    /// From now on nobody wants the answers of this execution.
    pub(crate) fn unwanted(&self, execution_id: &str) {
        self.unwanted.lock().unwrap().insert(execution_id.to_owned());
    }

    pub(crate) fn is_unwanted(&self, execution_id: &str) -> bool {
        self.unwanted.lock().unwrap().contains(execution_id)
    }

    /// The bus on which they play.
    pub(crate) fn bus(&self) -> &Bus {
        self.bus.get().unwrap()
    }

    /// What the model was asked in this execution, in its order.
    pub(crate) fn questions(&self, execution_id: &str) -> Vec<CompleteRequest> {
        let asked = self.questions.lock().unwrap();
        asked.iter().filter(|asked| asked.execution_id == execution_id).cloned().collect()
    }

    /// How often each key was asked for.
    pub(crate) fn asked(&self) -> BTreeMap<String, u32> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) fn reply(content: &str, tool_calls: Vec<ToolCall>) -> CompleteResponse {
    CompleteResponse {
        message: Some(ChatMessage {
            role: "assistant".into(),
            content: content.into(),
            tool_calls,
            ..Default::default()
        }),
        finish_reason: "stop".into(),
        usage: Some(TokenUsage {
            input_tokens: 10,
            output_tokens: 5,
            reasoning_tokens: 2,
            ..TokenUsage::default()
        }),
        cost_nanos: 100,
        provider: "played".into(),
        ..Default::default()
    }
}

pub(crate) fn call(name: &str, arguments: Value) -> ToolCall {
    ToolCall {
        id: String::new(),
        name: name.into(),
        arguments: Some(JsonObject::wrap(arguments)),
        ..Default::default()
    }
}

/// The calls that a question asks for: `[["tool", {arguments}]]`.
fn calls(question: &str) -> Vec<ToolCall> {
    let asked: Vec<(String, Value)> = serde_json::from_str(question).unwrap();
    asked.into_iter().map(|(tool, with)| call(&tool, with)).collect()
}

/// Plays a model. The agent's instructions say which part.
async fn model(peers: Peers, request: CompleteRequest) -> Result<CompleteResponse, Fault> {
    let times = peers.ask(&request.idempotency_key);
    peers.questions.lock().unwrap().push(request.clone());
    let part = request.messages[0].content.split_whitespace().next().unwrap_or_default().to_owned();
    let last = request.messages.last().unwrap();
    let turn = request.messages.iter().filter(|message| message.role == "assistant").count();
    if let Some(answer) = parts::play(&part, times, &request).await {
        return answer;
    }
    match part.as_str() {
        "silent" => std::future::pending().await,
        // The model has heard of the cancellation already.
        "hearing" => Err(Fault::new(Code::Conflict, "the task is cancelled")
            .with_details(muster_bus::HeardFirst::details())),
        "gated" if turn == 0 => {
            if times == 1 {
                peers.gate.acquire().await.unwrap().forget();
            }
            Ok(reply("", vec![call("double", json!({ "n": 21 }))]))
        }
        "gated" => Ok(reply(&last.content, vec![])),
        // Each question is answered only when it is asked again.
        "deaf" if times == 1 => std::future::pending().await,
        "deaf" if turn < 2 => Ok(reply("", vec![call("double", json!({ "n": turn }))])),
        "deaf" => Ok(reply(&format!("after {turn} turns"), vec![])),
        "tools" if turn == 0 => Ok(reply(
            "",
            vec![
                call("double", json!({"n": 1})),
                call("fail", json!({})),
                call("unknown", json!({})),
            ],
        )),
        "do" if turn == 0 => Ok(reply("", calls(&last.content))),
        "tools" | "do" => Ok(reply(
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

async fn tool(peers: Peers, request: ExecuteToolRequest) -> Result<ToolResult, Fault> {
    peers.ask(&request.idempotency_key);
    if request.tool == "fail" {
        return Err(Fault::new(Code::Invalid, "argument `x` is missing"));
    }
    let arguments = request.arguments.unwrap_or_default();
    if arguments.contains_key("together") {
        peers.pair.wait().await;
    }
    if arguments.contains_key("large") {
        let result = Some(Json(json!("x".repeat(300_000))));
        return Ok(ToolResult { result, ..Default::default() });
    }
    let n = arguments.get("n").and_then(Value::as_i64).unwrap_or_default();
    Ok(ToolResult { result: Some(Json(json!({ "doubled": n * 2 }))), ..Default::default() })
}

async fn tools(peers: Peers, request: ListToolsRequest) -> Result<ToolList, Fault> {
    if request.names.iter().any(|name| name.starts_with(MANY)) {
        // In another order each time: nobody has promised one.
        let mut tools: Vec<ToolDefinition> = request.names.into_iter().map(of_many).collect();
        if peers.ask("many").is_multiple_of(2) {
            tools.reverse();
        }
        return Ok(ToolList { tools });
    }
    // It is there when the agent is registered, and away afterwards.
    if request.names.iter().any(|name| name == "lost") && peers.ask("lost") > 1 {
        return Err(Fault::new(Code::Unavailable, "nobody serves tool.registry.list"));
    }
    if let Some(unknown) = request.names.iter().find(|name| *name == "nothing") {
        return Err(Fault::new(Code::NotFound, format!("there is no tool {unknown:?}")));
    }
    Ok(ToolList {
        tools: request
            .names
            .into_iter()
            .map(|name| ToolDefinition {
                parameters: Some(JsonObject::wrap(
                    json!({"properties": {"n": {"type": "integer"}}}),
                )),
                approval: name == "guarded",
                name,
                ..Default::default()
            })
            .collect(),
    })
}

/// A registered tool, as there are many.
fn of_many(name: String) -> ToolDefinition {
    ToolDefinition {
        description: format!("Does what {} say.", name.replace('_', " ")),
        kind: "http".into(),
        name,
        ..ToolDefinition::default()
    }
}

async fn wanted(peers: Peers, request: GetCallRequest) -> Result<CallState, Fault> {
    Ok(CallState { wanted: !peers.unwanted.lock().unwrap().contains(&request.execution_id) })
}

pub(crate) fn serve(nats: &NatsServer) -> Running {
    serve_with(nats, &[])
}

/// The service with these settings, too.
pub(crate) fn serve_with(nats: &NatsServer, more: &[(&str, &str)]) -> Running {
    let key = "t:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let mut settings = vec![("MUSTER_ACK_WAIT", "1"), ("MUSTER_SEAL_KEYS", key)];
    settings.extend_from_slice(more);
    start([muster_agent::service()], &nats.env(&settings))
}

impl World {
    pub(crate) async fn new() -> Self {
        let nats = NatsServer::start().await;
        let settings = nats.settings("peers");
        Self::with(nats, settings, &[]).await
    }

    /// On this server, with these settings for the peers, and these for the service.
    pub(crate) async fn with(nats: NatsServer, settings: Settings, more: &[(&str, &str)]) -> Self {
        let bus = Bus::open(settings).await.unwrap();
        bus.ready().await;
        let (peers, stop) = (Peers::new(), CancellationToken::new());
        drop(peers.bus.set(bus.clone()));
        let routes =
            engine::routes(Routes::new(peers.clone())).rpc(model).rpc(tool).rpc(tools).rpc(wanted);
        tokio::spawn({
            let (bus, stop) = (bus.clone(), stop.clone());
            async move { routes.serve(&bus, stop).await }
        });
        let service = Some(serve_with(&nats, more));
        let world = Self { nats, bus, peers, service, _peers: stop.drop_guard() };
        eventually(LONG, "agent and its peers answer", || async {
            let unknown = world
                .bus
                .request(&GetAgentRequest { name: "x".into(), ..Default::default() })
                .await;
            let listed = world.bus.request(&ListToolsRequest::default()).await;
            unknown.is_err_and(|fault| fault.code == Code::NotFound) && listed.is_ok()
        })
        .await;
        world
    }

    pub(crate) async fn put(&self, definition: AgentDefinition) -> Result<AgentDefinition, Fault> {
        self.bus
            .request(&PutAgentRequest { definition: Some(definition), ..Default::default() })
            .await
    }

    /// Registers an agent that plays this part, and asks it.
    pub(crate) async fn ask(&self, part: &str, input: Value) {
        let definition =
            AgentDefinition { tools: vec!["double".into(), "fail".into()], ..agent(part) };
        self.put(definition).await.unwrap();
        self.request(part, "e1", input).await;
    }

    pub(crate) async fn request(&self, agent: &str, execution: &str, input: Value) {
        let command = AgentExecutionRequested {
            execution_id: execution.into(),
            task: TASK.into(),
            agent: agent.into(),
            input: Some(Json(input)),
            ..Default::default()
        };
        self.bus.publish(&command, &MessageId::random()).await.unwrap();
    }

    /// As [`World::request`], with what the run does differently.
    pub(crate) async fn request_with(
        &self,
        agent: &str,
        execution: &str,
        input: Value,
        overrides: JsonObject,
    ) {
        let command = AgentExecutionRequested {
            execution_id: execution.into(),
            task: TASK.into(),
            agent: agent.into(),
            input: Some(Json(input)),
            overrides: Some(overrides),
            ..Default::default()
        };
        self.bus.publish(&command, &MessageId::random()).await.unwrap();
    }

    /// The types of what the run's journal holds.
    pub(crate) async fn facts(&self, agent: &str) -> Vec<String> {
        self.facts_of(agent, "e1").await
    }

    pub(crate) async fn facts_of(&self, agent: &str, execution: &str) -> Vec<String> {
        let address = RunEntry {
            execution_id: execution.into(),
            run_id: subject::derived_token(TASK),
            task: TASK.into(),
            agent: agent.into(),
            ..Default::default()
        };
        let entries = self.bus.journal(&address).unwrap().read().await.unwrap();
        entries
            .into_iter()
            .map(|(_, entry)| entry.fact.unwrap()["type"].as_str().unwrap().to_owned())
            .collect()
    }

    /// How many ends the run has told, once everything that it could tell is there.
    pub(crate) async fn ends(&self) -> usize {
        self.put(agent("talk")).await.unwrap();
        self.request("talk", "sentinel", json!("hello")).await;
        let ends = vec!["agent.execution.completed".into(), "agent.execution.failed".into()];
        let before_sentinel = self
            .bus
            .follow(Stream::Executions, ends, After(0))
            .take_while(|event| std::future::ready(event.execution_id != "sentinel"))
            .count();
        tokio::time::timeout(LONG, before_sentinel).await.unwrap()
    }

    /// The first event of this subject, after at most `LONG`.
    pub(crate) async fn first<M: Message>(&self, pattern: &str) -> M {
        let mut events =
            Box::pin(self.bus.follow(Stream::Executions, vec![pattern.to_owned()], After(0)));
        tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().decode().unwrap()
    }

    /// The first event of this subject and execution, after at most `LONG`.
    async fn first_of<M: Message>(&self, pattern: &str, execution: &str) -> M {
        let events = self.bus.follow(Stream::Executions, vec![pattern.to_owned()], After(0));
        let mut events =
            Box::pin(events.filter(|event| std::future::ready(event.execution_id == execution)));
        tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().decode().unwrap()
    }

    pub(crate) async fn completed_of(&self, execution: &str) -> AgentExecutionCompleted {
        self.first_of("agent.execution.completed", execution).await
    }

    pub(crate) async fn failed_of(&self, execution: &str) -> AgentExecutionFailed {
        self.first_of("agent.execution.failed", execution).await
    }

    pub(crate) async fn completed(&self) -> AgentExecutionCompleted {
        self.first("agent.execution.completed").await
    }

    pub(crate) async fn failed(&self) -> AgentExecutionFailed {
        self.first("agent.execution.failed").await
    }

    /// The deliverable that a notice tells of.
    pub(crate) async fn deliverable(&self, notice: &Value) -> Deliverable {
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

pub(crate) fn agent(part: &str) -> AgentDefinition {
    AgentDefinition {
        name: part.into(),
        instructions: format!("{part} is your part."),
        ..Default::default()
    }
}
