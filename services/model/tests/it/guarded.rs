//! The service with prices and allowances, for tests of what they do.

use std::fs;
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Bus};
use muster_contracts::Stream;
use muster_contracts::llm::v1::{CompleteRequest, Parameters};
use muster_contracts::model::v1::{
    Allowance, GetAllowanceRequest, ListAllowancesRequest, PutAllowanceRequest, Spending,
};
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, ScriptedModel, eventually};

use crate::request;

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// What a reply of [`small`] costs: 5 tokens of 2 dollars for a million.
pub(crate) const COST: u64 = 10_000;
const PRICES: &str = "prices: [{model: scripted, input: 0, output: 2}]";

/// A server, a scripted provider, and settings for services.
pub(crate) struct Guarded {
    pub(crate) nats: NatsServer,
    pub(crate) model: ScriptedModel,
    pub(crate) agent: Bus,
    pub(crate) gateway: Bus,
    dir: tempfile::TempDir,
}

impl Guarded {
    pub(crate) async fn start() -> Self {
        let (nats, model) = (NatsServer::start().await, ScriptedModel::start().await);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("prices.yaml"), PRICES).unwrap();
        let (agent, gateway) = (open(&nats, "agent").await, open(&nats, "gateway").await);
        Self { nats, model, agent, gateway, dir }
    }

    /// A replica of the service, with these settings as well.
    pub(crate) async fn serve(&self, settings: &[(&str, &str)]) -> Running {
        let prices = self.dir.path().join("prices.yaml");
        let known = [
            ("OPENAI_BASE_URL", self.model.base_url()),
            ("OPENAI_API_KEY", "sk-hush"),
            ("MUSTER_OPENAI_MODEL", "scripted"),
            ("MUSTER_PRICES_FILE", prices.to_str().unwrap()),
            ("MUSTER_RESERVATION_SECONDS", "2"),
        ];
        let given = |name: &str| settings.iter().any(|(given, _)| *given == name);
        let known = known.into_iter().filter(|(name, _)| !given(name));
        let all: Vec<(&str, &str)> = known.chain(settings.iter().copied()).collect();
        let running = start([muster_model::service()], &self.nats.env(&all));
        self.ready().await;
        running
    }

    /// Other prices for the services that begin after this.
    pub(crate) fn price(&self, prices: &str) {
        fs::write(self.dir.path().join("prices.yaml"), prices).unwrap();
    }

    /// Waits until somebody serves.
    pub(crate) async fn ready(&self) {
        eventually(DEADLINE, "the service serves", || async {
            let asked = ListAllowancesRequest {};
            self.gateway.request_within(&asked, Duration::from_secs(5)).await.is_ok()
        })
        .await;
    }

    pub(crate) async fn allow(&self, allowance: Allowance) {
        let request = PutAllowanceRequest { allowance: Some(allowance) };
        self.gateway.request_within(&request, DEADLINE).await.unwrap();
    }

    pub(crate) async fn spending(&self, kind: &str, name: &str) -> Spending {
        let request = GetAllowanceRequest { kind: kind.into(), name: name.into() };
        let allowance = self.gateway.request_within(&request, DEADLINE).await.unwrap();
        allowance.spending.unwrap()
    }

    /// Waits until exactly this is spent and nothing is reserved.
    pub(crate) async fn spends(&self, tenant: &str, nanos: u64) {
        eventually(DEADLINE, &format!("{nanos} are spent"), || async {
            let spending = self.spending("tenant", tenant).await;
            (spending.spent_nanos, spending.reserved_nanos) == (nanos, 0)
        })
        .await;
    }

    /// Who may read every stream.
    pub(crate) async fn operator(&self) -> Bus {
        open(&self.nats, "operator").await
    }

    /// The telemetry that fits a pattern, from the beginning until there are so many.
    pub(crate) async fn told(&self, pattern: &str, count: usize) -> Vec<muster_bus::Recorded> {
        let operator = self.operator().await;
        let stream = operator.follow(Stream::Telemetry, vec![pattern.to_owned()], After(0));
        let told = Box::pin(stream).take(count).collect();
        tokio::time::timeout(DEADLINE, told).await.unwrap()
    }
}

async fn open(nats: &NatsServer, service: &str) -> Bus {
    let bus = Bus::open(nats.settings(service)).await.unwrap();
    bus.ready().await;
    bus
}

/// A request of a tenant whose reply has at most 5 tokens.
pub(crate) fn small(tenant: &str, key: &str) -> CompleteRequest {
    CompleteRequest {
        tenant: tenant.into(),
        session: String::new(),
        params: Some(Parameters { max_tokens: 5, ..Default::default() }),
        ..request(key)
    }
}

/// A tenant's budget, in billionths of a dollar.
pub(crate) fn budget(tenant: &str, budget_nanos: u64) -> Allowance {
    Allowance { kind: "tenant".into(), name: tenant.into(), budget_nanos, ..Default::default() }
}
