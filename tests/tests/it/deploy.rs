//! The deployment files: valid, and true. No Docker is needed.

mod compose;
mod topology;

use std::process::Command;
use std::time::Duration;

use muster_testkit::repository;
use reqwest::{Client, StatusCode};
use serde_json::json;

use self::compose::Compose;
use self::topology::Topology;
use crate::platform::read;

const STOP: Duration = Duration::from_secs(35);

#[test]
fn compose_kubernetes_and_nats_files_are_valid() {
    let checked =
        Command::new("python3").arg(repository().join("deploy/validate.py")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[tokio::test]
async fn the_compose_topology_runs_as_separate_processes() {
    let compose = Compose::read();
    let mut topology = Topology::start_servers(&compose).await;
    for name in compose.start_order() {
        topology.start(&compose, &name).await;
    }
    runs_a_workflow(&topology.rest()).await;
    for (name, process) in topology.services() {
        let status = process.terminate(STOP).await;
        assert!(status.success(), "{name} ended with {status}: {}", process.log());
    }
}

/// Through the gateway, orchestration and the tool service, each a process with the environment of its container.
async fn runs_a_workflow(rest: &str) {
    // Fails where a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::new();
    let workflow = json!({
        "document": { "dsl": "1.0.3", "namespace": "test", "name": "topology", "version": "1.0.0" },
        "do": [{ "say": { "call": "tool", "with": { "tool": "echo", "arguments": { "value": "hello" } } } }],
    });
    let put =
        client.put(format!("http://{rest}/v1/workflows")).json(&workflow).send().await.unwrap();
    let (status, body) = read(put).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let start = client.post(format!("http://{rest}/v1/executions")).header("Prefer", "wait=30");
    let (status, state) =
        read(start.json(&json!({ "workflow": "topology" })).send().await.unwrap()).await;
    assert_eq!((status, &state["status"]), (StatusCode::OK, &json!("completed")), "{state:#}");
    assert!(state["output"].to_string().contains("hello"), "{state:#}");
}
