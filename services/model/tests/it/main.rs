//! The model service on a real nats-server, with a scripted provider.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod offline;
mod openai;
mod recorded;

use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus};
use muster_contracts::llm::v1::{ChatMessage, ChatTool, CompleteRequest, CompleteResponse, Token};
use muster_contracts::{Code, Fault, Stream, subject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, ScriptedModel, eventually};

const DEADLINE: Duration = Duration::from_secs(30);

struct World {
    nats: NatsServer,
    model: ScriptedModel,
    bus: Bus,
    service: Option<Running>,
}

impl World {
    /// The service with the scripted model as its `openai`.
    async fn start() -> Self {
        let (nats, model) = (NatsServer::start().await, ScriptedModel::start().await);
        let service = serve(&nats, model.base_url());
        let bus = connect(&nats).await;
        Self { nats, model, bus, service: Some(service) }
    }

    async fn ask(&self, request: &CompleteRequest) -> Result<CompleteResponse, Fault> {
        ask(&self.bus, request).await
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

fn serve(nats: &NatsServer, base_url: &str) -> Running {
    let settings = [
        ("OPENAI_BASE_URL", base_url),
        ("OPENAI_API_KEY", "sk-hush"),
        ("MUSTER_OPENAI_MODEL", "scripted"),
        ("MUSTER_MODEL_IDLE_SECONDS", "1"),
    ];
    start([muster_model::service()], &nats.env(&settings))
}

/// Asks as soon as the service serves, which it says by refusing an empty request.
async fn ask(bus: &Bus, request: &CompleteRequest) -> Result<CompleteResponse, Fault> {
    let empty = CompleteRequest { messages: Vec::new(), ..request.clone() };
    eventually(DEADLINE, "the service serves", || async {
        let refusal = bus.request_within(&empty, Duration::from_millis(200)).await.unwrap_err();
        refusal.code == Code::Invalid
    })
    .await;
    bus.request_within(request, DEADLINE).await
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
