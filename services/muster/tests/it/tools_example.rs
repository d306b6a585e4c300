//! `examples/tools` as its page tells it, with the shop on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed helper is a failed test"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use muster_testkit::{NatsServer, Process, Program, eventually, free_port};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    PATIENCE,
    program::{Muster, program},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The address that stands in the files.
const SHOP: &str = "127.0.0.1:8765";

struct World {
    server: String,
    shop: Process,
    folder: TempDir,
    _platform: Process,
    nats: NatsServer,
}

impl World {
    async fn start() -> Self {
        // Fails where another test was first, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let nats = NatsServer::start().await;
        let port = free_port();
        let (rest, health) =
            (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
        let platform = program(&["up", "--services", "gateway,orchestration,agent,tool,model"])
            .envs(nats.env(&[]))
            .env("MUSTER_HTTP_ADDR", &rest)
            .env("MUSTER_HEALTH_ADDR", &health)
            .env("MUSTER_HTTP_ALLOW", SHOP.replace("8765", &port.to_string()))
            .env("MUSTER_MCP_COMMANDS", "python3")
            .spawn();
        let example = root().join("examples/tools");
        let shop = Program::at("python3")
            .arg(example.join("server.py").display().to_string())
            .arg(port.to_string())
            .spawn();
        let healthy = format!("http://{health}/readyz");
        eventually(PATIENCE, "the services are ready", || async {
            Muster::run(&["health", &healthy]).await.log.contains("200 OK")
        })
        .await;
        let (server, folder) = (format!("http://{rest}"), tempfile::tempdir().unwrap());
        copy(&example, folder.path(), &SHOP.replace("8765", &port.to_string()));
        Self { server, shop, folder, _platform: platform, nats }
    }

    async fn apply(&self) -> Muster {
        let folder = self.folder.path().display().to_string();
        Muster::run(&["apply", "-f", &folder, "--server", &self.server]).await
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let client = reqwest::Client::new();
        let request = client
            .post(format!("{}{path}", self.server))
            .header("content-type", "application/json")
            .header("prefer", "wait=300");
        let answer = request.body(body.to_string()).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    /// What a call comes to, once it can be answered.
    async fn called(&self, tool: &str, arguments: Value) -> Value {
        let body = json!({ "arguments": arguments });
        eventually(PATIENCE, tool, || async {
            match self.post(&format!("/v1/tools/{tool}"), &body).await {
                (200, answer) => Ok(answer["result"].clone()),
                other => Err(other),
            }
        })
        .await
    }
}

/// The example's files, with another address of the shop.
fn copy(from: &Path, to: &Path, shop: &str) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&path, &target, shop);
        } else {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(target, text.replace(SHOP, shop)).unwrap();
        }
    }
}

/// The example worker in Python, which serves `slug`.
fn worker(nats: &NatsServer) -> Process {
    let made = Command::new("python3").arg(root().join("deploy/local/workers.py")).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let commands: Value = serde_json::from_slice(&made.stdout).unwrap();
    let words: Vec<&str> =
        commands["python"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    let program = Program::at(words[0])
        .env("NATS_URL", nats.url())
        .env("NATS_USER", "worker")
        .env("NATS_PASSWORD", nats.password("worker"));
    words[1..].iter().fold(program, |program, word| program.arg(*word)).spawn()
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_of_every_kind_are_applied_and_used_by_a_workflow_and_an_agent() {
    let world = World::start().await;
    world.apply().await.succeeded(&[
        "+ tool calendar",
        "+ tool exchange",
        "+ tool fingerprint",
        "+ tool shop",
        "+ tool slug",
        "+ agent clerk",
        "+ workflow order 1.0.0",
        "7 created, 0 changed, 0 unchanged",
    ]);
    let _worker = worker(&world.nats);
    // Programs take their time to start.
    world.called("slug", json!({ "text": "a b" })).await;
    // The worker has registered itself with just what the file says.
    world.apply().await.succeeded(&["0 created, 0 changed, 7 unchanged"]);
    world.called("calendar__add_days", json!({ "date": "2026-01-01", "days": 1 })).await;
    let input = json!({ "item": "kettle", "currency": "USD", "ordered": "2026-12-30" });
    let start = json!({ "workflow": "order", "input": input });
    let (_, execution) = world.post("/v1/executions", &start).await;
    let offer = json!({
        "item": "Copper Kettle", "price": 56.26, "currency": "USD", "due": "2027-01-02",
        "page": "copper-kettle", "number": 1_521_413_050,
    });
    assert_eq!(execution["output"], offer, "{execution:#}");
    let readme = std::fs::read_to_string(root().join("examples/tools/README.md")).unwrap();
    let told = readme.split("The output is `").nth(1).unwrap().split('`').next().unwrap();
    assert_eq!(serde_json::from_str::<Value>(told).unwrap(), offer);

    let asked = json!({
        "document": { "dsl": "1.0.3", "namespace": "t", "name": "asked", "version": "1.0.0" },
        "do": [{ "ask": { "call": "agent", "with": { "agent": "clerk", "input": "lamp" } } }],
    });
    let client = reqwest::Client::new();
    let put = client.put(format!("{}/v1/workflows", world.server)).body(asked.to_string());
    let put = put.header("content-type", "application/yaml").send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    let (_, execution) = world.post("/v1/executions", &json!({ "workflow": "asked" })).await;
    let said = execution["output"].to_string();
    assert!(said.contains("Reading Lamp costs 31 euros (362.7 in NOK)"), "{execution:#}");

    // What is away for a moment is asked again by the workflow itself.
    world.shop.kill_9();
    let (status, away) =
        world.post("/v1/tools/exchange", &json!({ "arguments": { "currency": "EUR" } })).await;
    assert_eq!(status, 503, "{away:#}");
    let waiting = world.post("/v1/executions", &start);
    let back = async {
        world.shop.restart();
    };
    let ((_, execution), ()) = futures::future::join(waiting, back).await;
    assert_eq!(execution["output"], offer, "{execution:#}");
}
