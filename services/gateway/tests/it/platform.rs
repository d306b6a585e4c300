//! A gateway with its peers.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::Utc;
use muster_bus::{Bus, Delivery, MessageId, Routes};
use muster_contracts::{
    Code, Fault, JsonObject,
    agent::v1::{AgentDefinition, AgentList, GetAgentRequest, ListAgentsRequest, PutAgentRequest},
    log::v1::{ExecutionUsage, GetTimelineRequest, GetUsageRequest, LogEntry, Timeline},
    now,
    tool::v1::{ListToolsRequest, ToolDefinition, ToolList},
    vector::v1::{
        DocumentState, GetDocumentRequest, Hit, SearchRequest, SearchResponse, UpsertCompleted,
        UpsertFailed, UpsertRequested,
    },
    workflow::v1::{
        ExecutionCheck, ExecutionCompleted, ExecutionFailed, ExecutionState, GetExecutionRequest,
        GetWorkflowRequest, ListWorkflowsRequest, PutWorkflowRequest, StartExecution,
        WorkflowCheck, WorkflowDefinition, WorkflowList,
    },
};
use muster_runtime::{Service, testing::Running};
use muster_testkit::{NatsServer, eventually, free_port};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::{auth, control, keys, openai, tools};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The other services: what they know and what they were asked.
#[derive(Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    executions: HashMap<String, ExecutionState>,
    documents: HashMap<String, DocumentState>,
    starts: Vec<StartExecution>,
    uploads: Vec<(String, usize)>,
    /// How many replies were begun that never end.
    endless: usize,
    has_keys: bool,
    revoked: Vec<String>,
    bus: Option<Bus>,
}

impl Peers {
    pub(crate) fn starts(&self) -> Vec<StartExecution> {
        self.0.lock().unwrap().starts.clone()
    }

    /// The ids and sizes of the documents that were ingested.
    pub(crate) fn uploads(&self) -> Vec<(String, usize)> {
        self.0.lock().unwrap().uploads.clone()
    }

    pub(crate) fn begin_endless(&self) {
        self.0.lock().unwrap().endless += 1;
    }

    pub(crate) fn endless(&self) -> usize {
        self.0.lock().unwrap().endless
    }

    pub(crate) fn set(&self, state: ExecutionState) {
        self.0.lock().unwrap().executions.insert(state.execution_id.clone(), state);
    }

    pub(crate) fn execution(&self, id: &str) -> Option<ExecutionState> {
        self.0.lock().unwrap().executions.get(id).cloned()
    }

    /// From now on clients need one of the test's virtual keys.
    pub(crate) fn register_keys(&self) {
        self.0.lock().unwrap().has_keys = true;
    }

    /// From now on nobody has this key.
    pub(crate) fn revoke(&self, key_id: &str) {
        self.0.lock().unwrap().revoked.push(key_id.to_owned());
    }

    pub(crate) fn is_revoked(&self, key_id: &str) -> bool {
        self.0.lock().unwrap().revoked.iter().any(|revoked| revoked == key_id)
    }

    pub(crate) fn has_keys(&self) -> bool {
        self.0.lock().unwrap().has_keys
    }

    pub(crate) fn bus(&self) -> Bus {
        self.0.lock().unwrap().bus.clone().unwrap()
    }

    pub(crate) async fn complete(&self, id: &str, output: Value) {
        self.set(ExecutionState {
            execution_id: id.to_owned(),
            workflow: "quick".to_owned(),
            status: "completed".to_owned(),
            output: Some(output.clone().into()),
            ..ExecutionState::default()
        });
        let event = ExecutionCompleted {
            execution_id: id.to_owned(),
            workflow: "quick".to_owned(),
            output: Some(output.into()),
            ..Default::default()
        };
        self.bus().publish(&event, &MessageId::random()).await.unwrap();
    }

    pub(crate) async fn fail(&self, id: &str, error: Value) {
        let error = JsonObject::wrap(error);
        self.set(ExecutionState {
            execution_id: id.to_owned(),
            workflow: "failing".to_owned(),
            status: "faulted".to_owned(),
            error: Some(error.clone()),
            ..ExecutionState::default()
        });
        let event = ExecutionFailed {
            execution_id: id.to_owned(),
            workflow: "failing".to_owned(),
            error: Some(error),
            ..Default::default()
        };
        self.bus().publish(&event, &MessageId::random()).await.unwrap();
    }
}

/// A gateway on a real bus, its peers, and a client.
pub(crate) struct Platform {
    pub(crate) nats: NatsServer,
    pub(crate) bus: Bus,
    pub(crate) peers: Peers,
    pub(crate) base: String,
    http: Client,
    _running: Vec<Running>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let platform = Self::start_gateway(NatsServer::start().await).await;
        eventually(PATIENCE, "the peers answer", || async {
            platform.get("/v1/workflows").await.status() == StatusCode::OK
        })
        .await;
        platform
    }

    /// Does not wait until it is ready.
    pub(crate) async fn start_gateway(nats: NatsServer) -> Self {
        Self::start_with(nats, &[]).await
    }

    /// The same with these settings, too.
    pub(crate) async fn start_with(nats: NatsServer, more: &[(&str, &str)]) -> Self {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut settings = vec![
            ("MUSTER_HTTP_ADDR", address.as_str()),
            ("MUSTER_MAX_STREAMS", "2"),
            // Long enough for a test to see who holds a stream.
            ("MUSTER_STALL_SECONDS", "5"),
            ("MUSTER_DRAIN_TIMEOUT", "2"),
        ];
        settings.extend_from_slice(more);
        let peers = Peers::default();
        let bus = Bus::open(nats.settings("test")).await.unwrap();
        let played = peers.clone();
        let others = Service::new("peers", move |cx: muster_runtime::Context| {
            let peers = played.clone();
            async move {
                peers.0.lock().unwrap().bus = Some(cx.bus.clone());
                cx.serve(routes(peers)).await
            }
        });
        let running = vec![
            muster_runtime::testing::start([muster_gateway::service()], &nats.env(&settings)),
            muster_runtime::testing::start([others], &nats.operator_env(&settings)),
        ];
        let platform = Self {
            nats,
            bus,
            peers,
            base: format!("http://{address}"),
            http: client(),
            _running: running,
        };
        eventually(PATIENCE, "the gateway listens", || async {
            platform.request(Method::GET, "/healthz").send().await
        })
        .await;
        platform
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Response {
        self.request(Method::POST, path).json(&body).send().await.unwrap()
    }

    pub(crate) async fn delete(&self, path: &str) -> Response {
        self.request(Method::DELETE, path).send().await.unwrap()
    }

    pub(crate) async fn put(&self, path: &str, content_type: &str, body: &str) -> Response {
        self.request(Method::PUT, path)
            .header("content-type", content_type)
            .body(body.to_owned())
            .send()
            .await
            .unwrap()
    }
}

fn client() -> Client {
    // Another test of the process may have installed it before.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::new()
}

/// The status and the body as JSON.
pub(crate) async fn told(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

/// Checks that a response is a problem document with this status and these words in its detail, and returns it.
pub(crate) async fn problem(response: Response, status: u16, words: &[&str]) -> Value {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let (got, problem) = told(response).await;
    assert_eq!(got, status, "{problem}");
    assert_eq!(problem["status"], status);
    assert_eq!(problem["trace_id"].as_str().map(str::len), Some(32), "{problem}");
    let detail = problem["detail"].as_str().unwrap();
    for word in words {
        assert!(detail.contains(word), "no {word:?} in {detail:?}");
    }
    problem
}

fn routes(peers: Peers) -> Routes<Peers> {
    Routes::new(peers)
        .rpc(put_agent)
        .rpc(get_agent)
        .rpc(list_agents)
        .rpc(list_tools)
        .rpc(tools::register)
        .rpc(tools::unregister)
        .rpc(tools::execute)
        .rpc(put_workflow)
        .rpc(get_workflow)
        .rpc(list_workflows)
        .rpc(get_execution)
        .rpc(control::cancel)
        .rpc(control::suspend)
        .rpc(control::resume)
        .rpc(control::retry)
        .rpc(control::list)
        .rpc(timeline)
        .rpc(usage)
        .rpc(search)
        .rpc(get_document)
        .rpc(openai::complete)
        .rpc(openai::embed)
        .rpc(openai::models)
        .rpc(openai::keys)
        .rpc(openai::check)
        .rpc(keys::create)
        .rpc(keys::get)
        .rpc(keys::delete)
        .rpc(keys::allow)
        .rpc(keys::allowance)
        .rpc(keys::provider_keys)
        .rpc(auth::thread)
        .rpc(auth::message)
        .rpc(auth::approval)
        .rpc(auth::decide)
        .rpc(auth::remembered)
        .rpc(auth::forgotten)
        .on(started)
        .on(upsert)
}

fn agent(name: &str) -> AgentDefinition {
    AgentDefinition {
        name: name.to_owned(),
        instructions: "Be brief.".to_owned(),
        digest: "d1".to_owned(),
        ..Default::default()
    }
}

async fn put_agent(_: Peers, request: PutAgentRequest) -> Result<AgentDefinition, Fault> {
    let definition = request.definition.unwrap();
    match definition.tools.iter().find(|tool| tool.as_str() == "teleport") {
        Some(tool) => Err(Fault::new(Code::Invalid, format!("there is no tool {tool:?}"))),
        None => Ok(AgentDefinition { digest: "d1".to_owned(), ..definition }),
    }
}

async fn get_agent(_: Peers, request: GetAgentRequest) -> Result<AgentDefinition, Fault> {
    if request.name == "nobody" {
        return Err(Fault::new(Code::NotFound, "there is no agent \"nobody\"; known: critic"));
    }
    Ok(agent(&request.name))
}

async fn list_agents(_: Peers, _: ListAgentsRequest) -> Result<AgentList, Fault> {
    Ok(AgentList { agents: vec![agent("critic"), agent("writer")] })
}

async fn list_tools(_: Peers, _: ListToolsRequest) -> Result<ToolList, Fault> {
    Ok(ToolList { tools: vec![ToolDefinition { name: "search".to_owned(), ..Default::default() }] })
}

fn workflow(name: &str) -> WorkflowDefinition {
    WorkflowDefinition {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        digest: format!("{name}-digest"),
        ..Default::default()
    }
}

async fn put_workflow(_: Peers, request: PutWorkflowRequest) -> Result<WorkflowDefinition, Fault> {
    if request.source.contains("teleport") {
        let problems = json!([{"pointer": "/do/0/a", "message": "teleport is not a task"}]);
        return Err(
            Fault::new(Code::Invalid, "/do/0/a: teleport is not a task").with_details(problems)
        );
    }
    if request.strict {
        let check = json!({ "check": { "executions": [{ "execution_id": "e1" }] } });
        return Err(
            Fault::new(Code::Conflict, "e1 would have gone another way").with_details(check)
        );
    }
    Ok(WorkflowDefinition {
        created: request.source.contains("new"),
        registered_at: now(Utc::now()),
        check: request.source.contains("newer").then(|| WorkflowCheck {
            executions: vec![ExecutionCheck { execution_id: "e1".into(), ..Default::default() }],
            ..Default::default()
        }),
        ..workflow("quick")
    })
}

async fn get_workflow(_: Peers, request: GetWorkflowRequest) -> Result<WorkflowDefinition, Fault> {
    match request.name.as_str() {
        "quick" | "slow" | "hanging" | "failing" | "chat-with-agent" => Ok(workflow(&request.name)),
        "broken" => Err(Fault::new(Code::Internal, "the secret of the database")),
        other => Err(Fault::new(Code::NotFound, format!("there is no workflow {other:?}"))),
    }
}

async fn list_workflows(_: Peers, _: ListWorkflowsRequest) -> Result<WorkflowList, Fault> {
    Ok(WorkflowList { workflows: vec![workflow("quick")] })
}

async fn get_execution(
    peers: Peers,
    request: GetExecutionRequest,
) -> Result<ExecutionState, Fault> {
    let started =
        peers.starts().into_iter().find(|start| start.execution_id == request.execution_id);
    if started.is_some_and(|start| start.workflow == "hanging") {
        return std::future::pending().await;
    }
    let found = peers.0.lock().unwrap().executions.get(&request.execution_id).cloned();
    found.ok_or_else(|| {
        Fault::new(Code::NotFound, format!("there is no execution {:?}", request.execution_id))
    })
}

async fn started(peers: Peers, delivery: Delivery<StartExecution>) -> Result<(), Fault> {
    let start = delivery.message;
    let (id, workflow) = (start.execution_id.clone(), start.workflow.clone());
    let input = start.input.clone().unwrap_or_default().0;
    peers.0.lock().unwrap().starts.push(start);
    match workflow.as_str() {
        "quick" | "chat-with-agent" => peers.complete(&id, json!({"echo": input})).await,
        "failing" => peers.fail(&id, json!({"status": 500, "title": "it broke"})).await,
        _ => {}
    }
    Ok(())
}

async fn timeline(_: Peers, request: GetTimelineRequest) -> Result<Timeline, Fault> {
    if request.execution_id == "unknown" {
        return Ok(Timeline::default());
    }
    let entries = (request.after + 1..=3).take(request.limit as usize).map(|sequence| LogEntry {
        log_id: format!("l{sequence}"),
        sequence,
        ..Default::default()
    });
    let entries: Vec<_> = entries.collect();
    let next_after =
        entries.last().map_or(0, |entry| if entry.sequence < 3 { entry.sequence } else { 0 });
    Ok(Timeline { entries, next_after })
}

async fn usage(_: Peers, request: GetUsageRequest) -> Result<ExecutionUsage, Fault> {
    Ok(ExecutionUsage {
        execution_id: request.execution_id,
        events: 3,
        duration_ms: 12,
        ..Default::default()
    })
}

async fn search(_: Peers, request: SearchRequest) -> Result<SearchResponse, Fault> {
    Ok(SearchResponse {
        hits: vec![Hit {
            document_id: "d".to_owned(),
            text: request.query,
            score: 0.5,
            ..Default::default()
        }],
        ..Default::default()
    })
}

async fn get_document(peers: Peers, request: GetDocumentRequest) -> Result<DocumentState, Fault> {
    let found = peers.0.lock().unwrap().documents.get(&request.document_id).cloned();
    found.ok_or_else(|| {
        Fault::new(Code::NotFound, format!("there is no document {:?}", request.document_id))
    })
}

async fn upsert(peers: Peers, delivery: Delivery<UpsertRequested>) -> Result<(), Fault> {
    let UpsertRequested { collection, document_id, request_id, artifact, .. } = delivery.message;
    let bus = peers.bus();
    let text = bus.artifacts().get(&artifact).await?.unwrap();
    if text.starts_with(b"unreadable") {
        let event = UpsertFailed {
            collection,
            document_id,
            request_id,
            code: "INVALID".to_owned(),
            error: "no words in it".to_owned(),
            ..Default::default()
        };
        bus.publish(&event, &MessageId::random()).await?;
        return Ok(());
    }
    let state = DocumentState {
        collection: collection.clone(),
        document_id: document_id.clone(),
        chunks: 2,
        ingested_at: now(Utc::now()),
        ..Default::default()
    };
    {
        let mut known = peers.0.lock().unwrap();
        known.uploads.push((document_id.clone(), text.len()));
        known.documents.insert(document_id.clone(), state);
    }
    let event = UpsertCompleted {
        collection,
        document_id,
        request_id,
        chunks: 2,
        tokens: 7,
        embedder: "test".to_owned(),
        timestamp: now(Utc::now()),
    };
    bus.publish(&event, &MessageId::random()).await?;
    Ok(())
}
