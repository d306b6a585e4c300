//! The knowledge service on a real nats-server.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod bombs;
mod definitions;
mod stages;

use std::time::Duration;

use muster_bus::Bus;
use muster_contracts::template::v1::{
    GetTemplateDefinitionRequest, ListTemplatesRequest, PutTemplateRequest, RenderTemplateRequest,
    RenderedTemplate, TemplateDefinition,
};
use muster_contracts::{Fault, JsonObject};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// The service with a server of its own.
struct World {
    nats: NatsServer,
    /// Who asks: the gateway.
    bus: Bus,
    service: Option<Running>,
}

impl World {
    async fn start() -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::open(nats.settings("gateway")).await.unwrap();
        bus.ready().await;
        let mut world = Self { nats, bus, service: None };
        world.serve().await;
        world
    }

    async fn serve(&mut self) {
        self.service = Some(self.replica());
        eventually(DEADLINE, "the service answers", || {
            // What crashed a moment ago may get the question, and never answers it.
            self.bus.request_within(&ListTemplatesRequest {}, Duration::from_secs(2))
        })
        .await;
    }

    fn replica(&self) -> Running {
        start([muster_knowledge::service()], &self.nats.env(&[]))
    }

    async fn put(&self, definition: Value) -> Result<TemplateDefinition, Fault> {
        let definition = serde_json::from_value(definition).unwrap();
        let request = PutTemplateRequest { definition: Some(definition), check_only: false };
        self.bus.request_within(&request, DEADLINE).await
    }

    async fn get(&self, name: &str, version: &str) -> Result<TemplateDefinition, Fault> {
        let request = GetTemplateDefinitionRequest { name: name.into(), version: version.into() };
        self.bus.request_within(&request, DEADLINE).await
    }

    async fn render(
        &self,
        name: &str,
        version: &str,
        vars: Value,
    ) -> Result<RenderedTemplate, Fault> {
        let request = RenderTemplateRequest {
            template: name.into(),
            version: version.into(),
            vars: Some(JsonObject::wrap(vars)),
            ..Default::default()
        };
        self.bus.request_within(&request, DEADLINE).await
    }
}

/// A template that greets.
fn greeting(text: &str) -> Value {
    json!({
        "name": "greeting",
        "text": text,
        "variables": {
            "required": ["who"],
            "properties": {"who": {"type": "string"}, "tone": {"enum": ["kind", "brief"], "default": "kind"}},
        },
    })
}
