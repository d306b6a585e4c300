//! Every service in this process, on servers of its own.

use std::time::Duration;

use muster_contracts::Addressed;
use muster_contracts::workflow::v1::ExecutionCompleted;
use muster_runtime::testing::{Running, start};
use muster_testkit::{Database, NatsServer, eventually, free_port};
use reqwest::Client;
use sqlx::{Connection, PgConnection};

use crate::cpu::Cpu;
use crate::report::Report;
use crate::timing::Measured;

pub(crate) struct Platform {
    pub(crate) client: Client,
    pub(crate) url: String,
    /// Of the gateway.
    pub(crate) address: String,
    _services: Running,
    nats: NatsServer,
    database: Database,
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
        Ok(Self { client, url, address, _services: services, nats, database })
    }

    /// How many messages the log is behind the last execution that has completed.
    pub(crate) async fn log_behind(&self) -> anyhow::Result<u64> {
        let jetstream = async_nats::jetstream::new(self.nats.client("operator").await);
        let stream = jetstream.get_stream_no_info("EXECUTIONS").await?;
        let last = stream.get_last_raw_message_by_subject(ExecutionCompleted::SUBJECT).await?;
        let mut connection = PgConnection::connect(self.database.url()).await?;
        let place: i64 = sqlx::query_scalar("SELECT max(sequence) FROM execution_log.places")
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(last.sequence.saturating_sub(place.unsigned_abs()))
    }

    /// Waits until the log has recorded everything.
    pub(crate) async fn until_logged(&self) -> anyhow::Result<()> {
        while self.log_behind().await? > 0 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// Adds what the executions of a measurement cost: until they had ended, and with what the log did behind them.
    pub(crate) async fn behind(
        &self,
        report: &mut Report,
        name: &str,
        measured: &Measured,
        before: Cpu,
    ) -> anyhow::Result<()> {
        report.cpu(name, measured.cpu, measured.count());
        report.add(format!("{name}_log_behind"), self.log_behind().await? as f64, "events");
        self.until_logged().await?;
        report.cpu(&format!("{name}_logged"), Cpu::now() - before, measured.count());
        Ok(())
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
