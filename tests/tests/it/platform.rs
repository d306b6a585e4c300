//! The whole platform as separate processes on servers of its own, and a client of its REST interface.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use muster_bus::{Bus, Settings};
use muster_testkit::{Cluster, Database, NatsServer, Process, Program, eventually, free_port};
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

/// The services, each a process.
pub(crate) const SERVICES: [&str; 8] =
    ["gateway", "orchestration", "agent", "tool", "model", "vector", "knowledge", "execution-log"];
const START: Duration = Duration::from_secs(60);
/// A platform for each processor at once, however many tests run side by side: the processes of more would starve each other.
static PLACES: LazyLock<Semaphore> =
    LazyLock::new(|| Semaphore::new(available_parallelism().map_or(2, |count| count.get().max(2))));

/// The servers that a platform runs on.
pub(crate) trait Nats {
    /// What its services have in their environment.
    fn environment(&self) -> Vec<(String, String)>;

    /// How the test itself connects.
    fn own_settings(&self) -> Settings;
}

impl Nats for NatsServer {
    fn environment(&self) -> Vec<(String, String)> {
        self.env(&[])
    }

    fn own_settings(&self) -> Settings {
        self.settings("test")
    }
}

impl Nats for Cluster {
    fn environment(&self) -> Vec<(String, String)> {
        self.env()
    }

    fn own_settings(&self) -> Settings {
        self.settings("test")
    }
}

pub(crate) struct Platform<N = NatsServer> {
    pub(crate) nats: N,
    pub(crate) processes: BTreeMap<&'static str, Process>,
    pub(crate) http: String,
    pub(crate) client: Client,
    programs: BTreeMap<&'static str, Program>,
    pub(crate) database: Database,
    _place: SemaphorePermit<'static>,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts every service with these settings and waits until the gateway is ready.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        Self::start_on(NatsServer::start().await, settings).await
    }
}

impl<N: Nats> Platform<N> {
    /// The same on these servers.
    pub(crate) async fn start_on(nats: N, settings: &[(&str, &str)]) -> Self {
        // Fails where another test was first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let place = PLACES.acquire().await.unwrap();
        let database = Database::create().await;
        let address = format!("127.0.0.1:{}", free_port());
        let (mut processes, mut programs) = (BTreeMap::new(), BTreeMap::new());
        for service in SERVICES {
            let mut program = Program::of_workspace(&format!("muster-{service}"))
                .envs(nats.environment())
                .env("DATABASE_URL", database.url())
                .env("MUSTER_HTTP_ADDR", &address)
                .env("MUSTER_ACK_WAIT", "2")
                .env("RUST_LOG", "info,async_nats=error,sqlx=warn");
            for (name, value) in settings {
                program = program.env(*name, *value);
            }
            programs.insert(service, program.clone());
            processes.insert(service, program.spawn());
        }
        let platform = Self {
            nats,
            processes,
            http: format!("http://{address}"),
            client: Client::new(),
            programs,
            database,
            _place: place,
        };
        platform.until_ready().await;
        platform
    }

    /// Waits until every service answers through the gateway.
    pub(crate) async fn until_ready(&self) {
        for path in ["/readyz", "/v1/workflows", "/v1/agents", "/v1/tools", "/v1/templates"] {
            eventually(START, path, || async {
                let response = self.client.get(self.url(path)).send().await?;
                response.error_for_status().map(drop)
            })
            .await;
        }
    }

    /// Another replica of a service.
    pub(crate) fn another(&self, service: &str) -> Process {
        self.programs[service].clone().spawn()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.http)
    }

    /// A connection of the test itself.
    pub(crate) async fn bus(&self) -> Bus {
        let bus = Bus::open(self.nats.own_settings()).await.unwrap();
        bus.ready().await;
        bus
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        read(self.client.get(self.url(path)).send().await.unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        read(self.client.post(self.url(path)).json(body).send().await.unwrap()).await
    }

    /// Puts a file as YAML.
    pub(crate) async fn put_yaml(&self, path: &str, text: String) -> (StatusCode, Value) {
        let request =
            self.client.put(self.url(path)).header("content-type", "application/yaml").body(text);
        read(request.send().await.unwrap()).await
    }

    /// Loads the agents and the workflow of an example and returns the workflow's name.
    pub(crate) async fn load(&self, example: &Path) -> String {
        for entry in std::fs::read_dir(example.join("agents")).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let (status, body) = self
                .put_yaml(&format!("/v1/agents/{name}"), std::fs::read_to_string(&path).unwrap())
                .await;
            assert!(status.is_success(), "{name}: {status} {body}");
        }
        self.put_workflow(std::fs::read_to_string(example.join("workflow.yaml")).unwrap()).await
    }

    pub(crate) async fn put_workflow(&self, text: String) -> String {
        let (status, body) = self.put_yaml("/v1/workflows", text).await;
        assert!(status.is_success(), "{status} {body}");
        body["name"].as_str().unwrap().to_owned()
    }

    /// Ingests a text and waits until it is searchable.
    pub(crate) async fn ingest(&self, collection: &str, text: &str) {
        let (status, body) = self
            .post(
                &format!("/v1/collections/{collection}/documents"),
                &json!({ "title": "document", "text": text }),
            )
            .await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
    }

    /// Starts an execution under an idempotency key, trying again while the platform is away.
    pub(crate) async fn start_execution(&self, workflow: &str, input: &Value, key: &str) -> String {
        let body = json!({ "workflow": workflow, "input": input });
        eventually(START, "the execution is accepted", || async {
            let request = self
                .client
                .post(self.url("/v1/executions"))
                .header("Idempotency-Key", key)
                .json(&body);
            let (status, body) =
                read(request.send().await.map_err(|error| error.to_string())?).await;
            body["execution_id"]
                .as_str()
                .filter(|_| status == StatusCode::ACCEPTED)
                .map(str::to_owned)
                .ok_or_else(|| format!("{status} {body}"))
        })
        .await
    }

    /// Waits for the end of an execution and returns its state.
    pub(crate) async fn ended(&self, id: &str, deadline: Duration) -> Value {
        eventually(deadline, "the execution ends", || async {
            let (status, state) = self.get(&format!("/v1/executions/{id}")).await;
            let ended = status.is_success()
                && matches!(state["status"].as_str(), Some("completed" | "faulted" | "cancelled"));
            if ended { Ok(state) } else { Err(format!("{status} {}", state["status"])) }
        })
        .await
    }
}

/// The example that the demo runs.
pub(crate) fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/research-brief")
}

pub(crate) async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let text = response.text().await.unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}
