//! The execution log on a real nats-server and a real Postgres.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod listing;
mod recording;
mod replicas;
mod usage;

use std::time::Duration;

use muster_bus::{Bus, MessageId};
use muster_contracts::log::v1::{GetTimelineRequest, GetUsageRequest, LogEntry, Timeline};
use muster_contracts::workflow::v1::ExecutionStarted;
use muster_contracts::{Code, Fault};
use muster_runtime::testing::{Running, start};
use muster_testkit::{Database, NatsServer, eventually};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

const DEADLINE: Duration = Duration::from_secs(60);

/// The service with servers of its own; other services are played by `bus`.
struct Platform {
    nats: NatsServer,
    database: Database,
    bus: Bus,
    service: Option<Running>,
}

impl Platform {
    async fn start() -> Self {
        let database = Database::create().await;
        let url = database.url().to_owned();
        Self::start_on(database, &url).await
    }

    /// The service reaches its database at another address.
    async fn start_on(database: Database, url: &str) -> Self {
        let nats = NatsServer::start().await;
        let bus = Bus::open(nats.operator("orchestration")).await.unwrap();
        let mut platform = Self { nats, database, bus, service: None };
        platform.run(url).await;
        platform
    }

    async fn run(&mut self, database: &str) {
        self.service = Some(self.replica(database));
        self.bus.ready().await;
        eventually(DEADLINE, "the service answers", || async {
            // A request that the crashed one took with it is never answered.
            let request = GetUsageRequest { execution_id: "nobody".to_owned() };
            match self.bus.request_within(&request, Duration::from_secs(1)).await {
                Err(fault) if fault.code == Code::NotFound => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// One more process of the service.
    fn replica(&self, database: &str) -> Running {
        let settings = self.nats.env(&[("DATABASE_URL", database)]);
        start([muster_execution_log::service()], &settings)
    }

    /// Changes what the service has written down.
    async fn sql(&self, statement: &'static str) {
        let mut connection = PgConnection::connect(self.database.url()).await.unwrap();
        sqlx::query("SET search_path = execution_log").execute(&mut connection).await.unwrap();
        sqlx::query(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn page(&self, execution_id: &str, after: u64, limit: u32) -> Result<Timeline, Fault> {
        let execution_id = execution_id.to_owned();
        self.bus.request(&GetTimelineRequest { execution_id, after, limit }).await
    }

    /// The timeline once it has this many entries.
    async fn timeline(&self, execution_id: &str, entries: usize) -> Vec<LogEntry> {
        let what = format!("{entries} entries of {execution_id}");
        eventually(DEADLINE, &what, || async {
            let timeline = self.page(execution_id, 0, 0).await.map_err(|fault| fault.message)?;
            let seen = timeline.entries.len();
            if seen >= entries { Ok(timeline.entries) } else { Err(format!("{seen} entries")) }
        })
        .await
    }

    async fn usage(
        &self,
        execution_id: &str,
    ) -> Result<muster_contracts::log::v1::ExecutionUsage, Fault> {
        self.bus.request(&GetUsageRequest { execution_id: execution_id.to_owned() }).await
    }

    async fn started(&self, execution_id: &str, id: &str) {
        let event = ExecutionStarted {
            execution_id: execution_id.into(),
            workflow: "brief".into(),
            status: "running".into(),
            ..ExecutionStarted::default()
        };
        self.bus.publish(&event, &MessageId::derived([id])).await.unwrap();
    }

    /// Sends lines of NATS's own protocol, and returns when the server has read them.
    async fn raw(&self, lines: &str) {
        let address = self.nats.url().trim_start_matches("nats://");
        let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
        let login = serde_json::json!({
            "verbose": false, "headers": true,
            "user": "operator", "pass": self.nats.password("operator"),
        });
        let all = format!("CONNECT {login}\r\n{lines}PING\r\n");
        stream.write_all(all.as_bytes()).await.unwrap();
        let mut answer = String::new();
        while !answer.contains("PONG") {
            assert!(!answer.contains("-ERR"), "{answer}");
            answer.clear();
            assert!(stream.read_line(&mut answer).await.unwrap() > 0, "the server hung up");
        }
    }

    /// What the server says to a question of its own API.
    async fn api(&self, question: &'static str, body: &str) -> Value {
        let client = self.nats.client("operator").await;
        let answer = client.request(question, body.to_owned().into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    }

    async fn assert_no_dead_letter(&self) {
        let letters = self.bus.dead_letters().list(10).await.unwrap();
        assert!(letters.is_empty(), "{letters:?}");
    }
}
