//! The model service on a real nats-server, with a scripted provider.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod budgets;
mod cached;
mod conformance;
mod dialects;
mod guarded;
mod keys;
mod live;
mod mixed;
mod money;
mod odd_usage;
mod offline;
mod openai;
mod recorded;
mod rotation;
mod routing;
mod settled;

use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus};
use muster_contracts::llm::v1::{ChatMessage, ChatTool, CompleteRequest, CompleteResponse, Token};
use muster_contracts::{Code, Fault, Stream, subject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, ScriptedModel, eventually};

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    nats: NatsServer,
    model: ScriptedModel,
    bus: Bus,
    service: Option<Running>,
}

impl World {
    /// The service with the scripted model as its `openai`.
    async fn start() -> Self {
        Self::start_idle("60").await
    }

    /// The same with so many seconds for which a provider may be silent.
    async fn start_idle(seconds: &str) -> Self {
        let (nats, model) = (NatsServer::start().await, ScriptedModel::start().await);
        let service = serve_idle(&nats, model.base_url(), seconds);
        let bus = connect(&nats).await;
        Self { nats, model, bus, service: Some(service) }
    }

    async fn ask(&self, request: &CompleteRequest) -> Result<CompleteResponse, Fault> {
        ask(&self.bus, request).await
    }

    async fn ready(&self) {
        ready(&self.bus).await;
    }

    /// The tokens of a session up to the last one of the first reply.
    async fn tokens(&self, session: &str) -> Vec<Token> {
        let pattern = subject::address::<Token>(&[("session", session)]).unwrap();
        let viewer = Bus::open(self.nats.settings("gateway")).await.unwrap();
        let mut stream = Box::pin(viewer.follow(Stream::LlmStreams, vec![pattern], After(0)));
        let mut tokens = Vec::new();
        while tokens.last().is_none_or(|token: &Token| token.finish_reason.is_empty()) {
            let recorded = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().unwrap();
            tokens.push(recorded.decode::<Token>().unwrap());
        }
        tokens
    }
}

async fn connect(nats: &NatsServer) -> Bus {
    let bus = Bus::open(nats.settings("agent")).await.unwrap();
    bus.ready().await;
    bus
}

/// The service with the scripted model as every one of its providers.
fn serve(nats: &NatsServer, base_url: &str) -> Running {
    serve_idle(nats, base_url, "60")
}

/// The same with so many seconds for which a provider may be silent.
fn serve_idle(nats: &NatsServer, base_url: &str, seconds: &str) -> Running {
    let root = base_url.trim_end_matches("/v1");
    let gemini = format!("{root}/v1beta");
    serve_with(
        nats,
        &[
            ("OPENAI_BASE_URL", base_url),
            ("OPENAI_API_KEY", "sk-hush"),
            ("MUSTER_OPENAI_MODEL", "scripted"),
            ("ANTHROPIC_BASE_URL", root),
            ("ANTHROPIC_API_KEY", "sk-hush"),
            ("GEMINI_BASE_URL", &gemini),
            ("GEMINI_API_KEY", "sk-hush"),
            ("OLLAMA_HOST", root),
            ("OLLAMA_API_KEY", "sk-hush"),
            ("MUSTER_OLLAMA_MODEL", "scripted"),
            ("MUSTER_MODEL_IDLE_SECONDS", seconds),
        ],
    )
}

fn serve_with(nats: &NatsServer, settings: &[(&str, &str)]) -> Running {
    start([muster_model::service()], &nats.env(settings))
}

/// Asks as soon as the service serves.
async fn ask(bus: &Bus, request: &CompleteRequest) -> Result<CompleteResponse, Fault> {
    ready(bus).await;
    bus.request_within(request, DEADLINE).await
}

/// Waits until the service serves, which it says by refusing an empty request.
async fn ready(bus: &Bus) {
    let empty = CompleteRequest { messages: Vec::new(), ..request("ready") };
    eventually(DEADLINE, "the service serves", || async {
        // What crashed a moment ago may get the question, and never answers it.
        let refusal = bus.request_within(&empty, Duration::from_secs(2)).await.unwrap_err();
        refusal.code == Code::Invalid
    })
    .await;
}

fn request(key: &str) -> CompleteRequest {
    CompleteRequest {
        provider: "default".into(),
        messages: vec![user("what is in the harbour?")],
        idempotency_key: key.into(),
        session: "s1".into(),
        execution_id: "e1".into(),
        ..Default::default()
    }
}

fn user(content: &str) -> ChatMessage {
    ChatMessage { role: "user".into(), content: content.into(), ..Default::default() }
}

fn tool(name: &str) -> ChatTool {
    ChatTool { name: name.into(), ..Default::default() }
}
