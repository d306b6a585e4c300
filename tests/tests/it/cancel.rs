//! Cancelling reaches what runs for an execution, down to the connections that it has open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use muster_bus::Routes;
use muster_contracts::Fault;
use muster_contracts::tool::v1::{CallToolRequest, ToolResult};
use muster_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::platform::Platform;

const LONG: Duration = Duration::from_secs(60);

/// A server that gets requests and never answers.
struct Silent {
    address: String,
    /// Clients that have asked, and those that have hung up.
    asked: Arc<AtomicUsize>,
    left: Arc<AtomicUsize>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, left) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (arrived, gone) = (asked.clone(), left.clone());
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (arrived, gone) = (arrived.clone(), gone.clone());
                tokio::spawn(async move {
                    let (mut buffer, mut is_first) = ([0; 4096], true);
                    while client.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                        if std::mem::take(&mut is_first) {
                            arrived.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    gone.fetch_add(usize::from(!is_first), Ordering::SeqCst);
                });
            }
        });
        Self { address, asked, left }
    }

    async fn until_asked(&self, times: usize) {
        until("the server is asked", &self.asked, times).await;
    }

    async fn until_left(&self, times: usize) {
        until("the clients have hung up", &self.left, times).await;
    }
}

async fn until(what: &str, count: &AtomicUsize, times: usize) {
    eventually(LONG, what, || async {
        match count.load(Ordering::SeqCst) {
            count if count >= times => Ok(()),
            count => Err(count),
        }
    })
    .await;
}

/// The types of the events that the log has of an execution.
async fn logged(platform: &Platform, id: &str) -> Vec<String> {
    let (_, body) = platform.get(&format!("/v1/executions/{id}/events")).await;
    let events = body["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["type"].as_str().unwrap_or_default().to_owned()).collect()
}

fn workflow(name: &str, tasks: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}"
    )
}

/// Everything that can hang, side by side.
fn branches(address: &str) -> String {
    format!(
        "
- all:
    fork:
      branches:
      - think: {{call: agent, with: {{agent: thinker, input: go}}}}
      - ask: {{call: model, with: {{model: default, prompt: go}}}}
      - slow: {{call: tool, with: {{tool: http_request, arguments: {{url: 'http://{0}/slow'}}}}}}
      - fetch: {{call: http, with: {{method: get, endpoint: 'http://{0}/fetch'}}}}
      - hang: {{call: tool, with: {{tool: hang, arguments: {{}}}}}}
- never: {{set: {{reached: true}}}}
",
        address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_execution_hangs_up_on_models_servers_and_workers() {
    let (model, server) = (Silent::start().await, Silent::start().await);
    let platform = Platform::start_with(&[
        ("OPENAI_BASE_URL", &format!("http://{}/v1", model.address)),
        ("OPENAI_API_KEY", "none"),
        ("MUSTER_HTTP_ALLOW", &server.address),
    ])
    .await;
    let (calls, bus, stop) =
        (Arc::<AtomicUsize>::default(), platform.bus().await, CancellationToken::new());
    let _stop = stop.clone().drop_guard();
    let address = CallToolRequest { name: "hang".into(), ..Default::default() };
    let hang = |calls: Arc<AtomicUsize>, _: CallToolRequest| async move {
        calls.fetch_add(1, Ordering::SeqCst);
        std::future::pending::<Result<ToolResult, Fault>>().await
    };
    let routes = Routes::new(calls.clone()).rpc_for(&[address], hang).unwrap();
    tokio::spawn(async move { routes.serve(&bus, stop).await });

    let agent = "name: thinker\ninstructions: Think.\n";
    assert!(platform.put_yaml("/v1/agents/thinker", agent.to_owned()).await.0.is_success());
    let tasks = branches(&server.address);
    let name = platform.put_workflow(workflow("busy", &tasks)).await;
    let id = platform.start_execution(&name, &Value::Null, "one").await;
    model.until_asked(2).await;
    server.until_asked(2).await;
    until("the worker is called", &calls, 1).await;

    let (status, body) =
        platform.post(&format!("/v1/executions/{id}/cancel"), &json!({"reason": "enough"})).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((&body["status"], &body["reason"]), (&json!("cancelled"), &json!("enough")));
    model.until_left(2).await;
    server.until_left(2).await;
    // The worker hears nothing of it, but nobody waits for it any more.
    eventually(LONG, "everything that ran has told that it is cancelled", || async {
        let logged = logged(&platform, &id).await;
        let count = |kind: &str| logged.iter().filter(|known| known.ends_with(kind)).count();
        let ended = (
            count(".AgentExecutionCancelled"),
            count(".ToolExecutionCancelled"),
            count(".CallCompleted"),
            count(".ExecutionCancelled"),
            count(".ExecutionFailed"),
        );
        if ended == (1, 3, 0, 1, 0) { Ok(()) } else { Err((ended, logged)) }
    })
    .await;
    let (status, body) = platform.post(&format!("/v1/executions/{id}/cancel"), &json!({})).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(body["detail"].as_str().unwrap().contains("is cancelled"), "{body}");
    eventually(LONG, "it is listed as cancelled", || async {
        let (_, list) = platform.get("/v1/executions?status=cancelled").await;
        if list["executions"][0]["execution_id"] == json!(id) { Ok(()) } else { Err(list) }
    })
    .await;
    assert_eq!(model.asked.load(Ordering::SeqCst), 2, "nobody asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_too_long_and_one_that_lost_a_race_hang_up_too() {
    let server = Silent::start().await;
    let platform = Platform::start_with(&[("MUSTER_HTTP_ALLOW", &server.address)]).await;
    let tasks = format!(
        "
- late:
    try:
    - slow:
        call: tool
        with: {{tool: http_request, arguments: {{url: 'http://{0}/late'}}}}
        timeout: {{after: {{milliseconds: 500}}}}
    catch: {{errors: {{with: {{status: 408}}}}}}
- race:
    fork:
      compete: true
      branches:
      - slow: {{call: tool, with: {{tool: http_request, arguments: {{url: 'http://{0}/lost'}}}}}}
      - fast: {{wait: {{milliseconds: 500}}}}
- done: {{set: {{ok: true}}}}
",
        server.address
    );
    let name = platform.put_workflow(workflow("impatient", &tasks)).await;
    let id = platform.start_execution(&name, &Value::Null, "one").await;
    assert_eq!(platform.ended(&id, LONG).await["output"], json!({"ok": true}));
    server.until_left(server.asked.load(Ordering::SeqCst)).await;
}
