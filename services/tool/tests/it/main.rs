//! The tool service on a real nats-server.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod a2a;
mod calls;
mod cancelled;
mod commands;
mod http;
mod interrupted;
mod killed;
mod mcp;
mod mcp_bounds;
mod mcp_revisions;
mod mcp_servers;
mod openapi;
mod orchestration;
mod outward;
mod refused;
mod registered;
mod resources;
mod run;
mod secrets;
mod server;
mod workers;

use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus, MessageId};
use muster_contracts::tool::v1::{
    ExecuteToolRequest, ListToolsRequest, ToolExecutionCompleted, ToolExecutionFailed,
    ToolExecutionRequested, ToolResult,
};
use muster_contracts::{Addressed, Fault, JsonObject, Message, Stream, subject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually};
use serde_json::Value;
use tokio_util::sync::DropGuard;

use crate::orchestration::Unwanted;

const DEADLINE: Duration = Duration::from_secs(60);

struct World {
    nats: NatsServer,
    bus: Bus,
    service: Option<Running>,
    allow: String,
    /// The folder of secrets; empty: none.
    secrets: String,
    /// What tasks may run.
    run: &'static str,
    /// A further command of MCP servers.
    commands: String,
    unwanted: Unwanted,
    _orchestration: DropGuard,
}

impl World {
    async fn start() -> Self {
        Self::allowing("").await
    }

    /// The service with these hosts allowed.
    async fn allowing(allow: &str) -> Self {
        Self::with(allow, "").await
    }

    /// The service with these hosts allowed and this folder of secrets.
    async fn with(allow: &str, secrets: &str) -> Self {
        let nats = NatsServer::start().await;
        let bus = connect(&nats, "test").await;
        let unwanted = Unwanted::default();
        let orchestration = unwanted.serve(&bus);
        let mut world = Self {
            nats,
            bus,
            service: None,
            allow: allow.to_owned(),
            secrets: secrets.to_owned(),
            run: "shell,python,js",
            commands: String::new(),
            unwanted,
            _orchestration: orchestration,
        };
        world.serve().await;
        world
    }

    async fn serve(&mut self) {
        let commands = format!("python3, true, {}", self.commands);
        let settings = [
            ("MUSTER_HTTP_ALLOW", self.allow.as_str()),
            ("MUSTER_SECRETS_DIR", self.secrets.as_str()),
            ("MUSTER_TOOL_TIMEOUT_SECONDS", "20"),
            ("MUSTER_MCP_COMMANDS", commands.as_str()),
            ("MUSTER_RUN", self.run),
        ];
        self.service = Some(start([muster_tool::service()], &self.nats.env(&settings)));
        eventually(DEADLINE, "the service serves", || {
            // What crashed a moment ago may get the question, and never answers it.
            self.bus.request_within(&NO_NAMES, Duration::from_secs(2))
        })
        .await;
    }

    fn crash(&mut self) {
        self.service.take().unwrap().crash();
    }

    async fn call(&self, name: &str, key: &str, arguments: Value) -> Result<ToolResult, Fault> {
        self.bus.request_within(&call(name, key, arguments), DEADLINE).await
    }

    async fn result(&self, name: &str, arguments: Value) -> Value {
        self.call(name, "", arguments).await.unwrap().result.unwrap().0
    }

    async fn command(&self, tool: &str, key: &str, arguments: Value) {
        let command = ToolExecutionRequested {
            execution_id: "e1".into(),
            task: format!("/do/{key}"),
            tool: tool.into(),
            arguments: Some(JsonObject::wrap(arguments)),
            idempotency_key: key.into(),
            secrets: Vec::new(),
        };
        self.bus.publish(&command, &MessageId::random()).await.unwrap();
    }

    /// The ends of so many calls, in the order of their keys.
    async fn ends(&self, count: usize) -> Vec<End> {
        let patterns = vec![
            subject::pattern(ToolExecutionCompleted::SUBJECT),
            subject::pattern(ToolExecutionFailed::SUBJECT),
        ];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        let mut ends = Vec::new();
        while ends.len() < count {
            let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
            ends.push(if event.message_type == ToolExecutionCompleted::NAME {
                let end = event.decode::<ToolExecutionCompleted>().unwrap();
                End { key: end.idempotency_key, result: Ok(end.result.unwrap_or_default().0) }
            } else {
                let end = event.decode::<ToolExecutionFailed>().unwrap();
                End { key: end.idempotency_key, result: Err((end.code, end.error)) }
            });
        }
        ends.sort_by(|a, b| a.key.cmp(&b.key));
        ends
    }
}

/// How a commanded call ended.
#[derive(Debug, PartialEq)]
struct End {
    key: String,
    result: Result<Value, (String, String)>,
}

static NO_NAMES: ListToolsRequest = ListToolsRequest { names: Vec::new() };

async fn connect(nats: &NatsServer, service: &str) -> Bus {
    let bus = Bus::open(nats.settings(service)).await.unwrap();
    bus.ready().await;
    bus
}

fn call(name: &str, key: &str, arguments: Value) -> ExecuteToolRequest {
    ExecuteToolRequest {
        tool: name.into(),
        arguments: Some(JsonObject::wrap(arguments)),
        idempotency_key: key.into(),
        execution_id: "e1".into(),
        task: "/do/0".into(),
    }
}
