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

const STOP: Duration = Duration::from_secs(60);

#[test]
fn compose_kubernetes_and_nats_files_are_valid() {
    let checked =
        Command::new("python3").arg(repository().join("deploy/validate.py")).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.success(), "{said}");
}

#[test]
fn make_up_tells_the_setting_that_is_meant_by_a_misspelt_one() {
    let script = "import sys; sys.path.insert(0, 'deploy/local'); import settings; print(settings.misspelt({'MUSTER_HTTP_ALOW': '', 'MUSTER_HTTP_ALLOW': '', 'MUSTER_DEV_DIR': '', 'MUSTER_QUITE_ELSE': '', 'HOME': ''}))";
    let mut python = Command::new("python3");
    let told = python.args(["-c", script]).current_dir(repository()).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&told.stdout),
        "['MUSTER_HTTP_ALOW is no setting and changes nothing: is MUSTER_HTTP_ALLOW meant?']\n",
        "{}",
        String::from_utf8_lossy(&told.stderr)
    );
}

#[test]
fn make_up_tells_which_model_answers_and_never_its_key() {
    let check = |settings: &str, expected: &str| {
        let script = format!(
            "import sys; sys.path.insert(0, 'deploy/local'); import muster; print(muster.models({settings}))"
        );
        let mut python = Command::new("python3");
        let told = python.args(["-c", &script]).current_dir(repository()).output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned()
            + &String::from_utf8_lossy(&told.stderr);
        assert!(told.starts_with(expected) && !told.contains("hush"), "{told}");
    };
    check("{}", "models: the built-in offline model answers");
    check("{'OPENAI_API_KEY': 'hush'}", "models: https://api.openai.com/v1\n");
    check(
        "{'OPENAI_BASE_URL': 'http://me:hush@localhost:9/v1', 'MUSTER_OPENAI_MODEL': 'small'}",
        "models: http://localhost:9/v1, small where an agent names none\n",
    );
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

/// As `.env.example` has it.
const ADMIN_TOKEN: &str = "change-me-admin-token-of-muster";

/// Through the gateway, orchestration and the tool service, each a process with the environment of its container.
async fn runs_a_workflow(rest: &str) {
    // Fails where a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::new();
    let workflow = json!({
        "document": { "dsl": "1.0.3", "namespace": "test", "name": "topology", "version": "1.0.0" },
        "do": [{ "say": { "call": "tool", "with": { "tool": "echo", "arguments": { "value": "hello" } } } }],
    });
    let put = client.put(format!("http://{rest}/v1/workflows")).json(&workflow);
    assert_eq!(put.try_clone().unwrap().send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let put = put.bearer_auth(ADMIN_TOKEN).send().await.unwrap();
    let (status, body) = read(put).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let start = client.post(format!("http://{rest}/v1/executions")).bearer_auth(ADMIN_TOKEN);
    let start = start.header("Prefer", "wait=120");
    let (status, state) =
        read(start.json(&json!({ "workflow": "topology" })).send().await.unwrap()).await;
    assert_eq!((status, &state["status"]), (StatusCode::OK, &json!("completed")), "{state:#}");
    assert!(state["output"].to_string().contains("hello"), "{state:#}");
}
