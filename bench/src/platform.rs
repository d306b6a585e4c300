//! Every service in this process, on servers of its own.

use std::time::Duration;

use muster_runtime::testing::{Running, start};
use muster_testkit::{Database, NatsServer, eventually, free_port};
use reqwest::Client;
use serde_json::Value;

pub(crate) struct Platform {
    pub(crate) client: Client,
    pub(crate) url: String,
    _services: Running,
    _nats: NatsServer,
    _database: Database,
}

impl Platform {
    pub(crate) async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (nats, database) = (NatsServer::start().await, Database::create().await);
        let address = format!("127.0.0.1:{}", free_port());
        let mut all = vec![("DATABASE_URL", database.url()), ("MUSTER_HTTP_ADDR", &address)];
        all.extend(settings);
        let services = [
            muster_gateway::service(),
            muster_orchestration::service(),
            muster_agent::service(),
            muster_tool::service(),
            muster_model::service(),
            muster_vector::service(),
            muster_knowledge::service(),
            muster_execution_log::service(),
        ];
        let services = start(services, &nats.env(&all));
        let (client, url) = (Client::new(), format!("http://{address}"));
        for path in ["/readyz", "/v1/workflows", "/v1/agents", "/v1/tools"] {
            eventually(Duration::from_secs(30), path, || async {
                client.get(format!("{url}{path}")).send().await?.error_for_status().map(drop)
            })
            .await;
        }
        Ok(Self { client, url, _services: services, _nats: nats, _database: database })
    }

    pub(crate) async fn put_workflow(&self, source: &str) -> anyhow::Result<()> {
        let request = self
            .client
            .put(format!("{}/v1/workflows", self.url))
            .header("content-type", "application/yaml")
            .body(source.to_owned());
        let response = request.send().await?;
        let status = response.status();
        anyhow::ensure!(status.is_success(), "{status}: {}", response.text().await?);
        Ok(())
    }
}

/// Runs an execution to its end.
pub(crate) async fn execute(client: &Client, url: &str, body: &Value) -> anyhow::Result<()> {
    let response = client
        .post(format!("{url}/v1/executions"))
        .header("Prefer", "wait=60")
        .json(body)
        .send()
        .await?;
    let state: Value = response.error_for_status()?.json().await?;
    anyhow::ensure!(
        state.get("status").and_then(Value::as_str) == Some("completed"),
        "the execution did not complete: {state}"
    );
    Ok(())
}
