//! Large requests and replies, and those of a worker that knows nothing of it.

use std::time::Duration;

use async_nats::jetstream::object_store::ObjectStore;
use futures::StreamExt;
use muster_bus::Routes;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::workflow::v1::{
    ExecutionState, GetExecutionRequest, GetWorkflowRequest, WorkflowDefinition,
};
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};
use serde_json::json;

use crate::payloads::{LARGEST, Seen, names, noise, note, operator, prose, raw, stored};
use crate::{command, connect, id, serve};

async fn echo(_app: (), request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
    let size = request.execution_id.strip_prefix("give-").and_then(|size| size.parse().ok());
    let execution_id = size.map_or(request.execution_id, noise);
    Ok(ExecutionState { execution_id, ..Default::default() })
}

async fn too_large(_app: (), _request: GetWorkflowRequest) -> Result<WorkflowDefinition, Fault> {
    Ok(WorkflowDefinition { name: noise(LARGEST), ..Default::default() })
}

#[tokio::test]
async fn requests_and_replies_of_every_size_arrive_and_leave_nothing_behind() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let _serving = serve(&server, Routes::new(()).rpc(echo).rpc(too_large));
    let ask = |execution_id: String| {
        let client = client.clone();
        async move { client.request(&GetExecutionRequest { execution_id }).await }
    };
    eventually(Duration::from_secs(60), "the service answers", || ask("e1".into())).await;
    let around = serde_json::to_vec(&GetExecutionRequest::default()).unwrap().len() + 17;
    let sizes = [9 << 10, 512 << 10, 1 << 20];
    let texts = sizes.into_iter().flat_map(|size| [prose(size), noise(size)]);
    for text in texts.chain([noise(LARGEST - around - 2)]) {
        assert!(ask(text.clone()).await.unwrap().execution_id == text, "{}", text.len());
    }
    let fault = ask(noise(LARGEST)).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(
        fault.message.starts_with("muster.workflow.v1.GetExecutionRequest has 10485"),
        "{fault}"
    );
    // What tells of a whole execution may be larger than other replies.
    assert_eq!(ask(format!("give-{LARGEST}")).await.unwrap().execution_id.len(), LARGEST);
    let request = GetWorkflowRequest { name: "prices".into(), ..Default::default() };
    let fault = client.request(&request).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    let expected = "muster.workflow.v1.WorkflowDefinition has 10485";
    assert!(fault.message.starts_with(expected), "{fault}");
    let exchange = raw(&nats).await.get_object_store("EXCHANGE").await.unwrap();
    is_emptied(&exchange).await;
}

/// Each look at an object store is a consumer for some minutes, of which a stream has a thousand at most.
pub(crate) async fn is_emptied(store: &ObjectStore) {
    eventually(Duration::from_secs(60), "no object is left", || async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        names(store).await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_plain_json_worker_needs_to_know_none_of_it() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let worker = operator(&nats).await;
    // It asks: plain JSON comes back, small or large.
    let serving = serve(&server, Routes::new(()).rpc(echo));
    eventually(Duration::from_secs(60), "the service answers", || async {
        client.request(&GetExecutionRequest { execution_id: "e1".into() }).await
    })
    .await;
    for size in [10, 100 << 10, 900 << 10] {
        let body = json!({ "execution_id": format!("give-{size}") }).to_string();
        let reply = worker.request("workflow.query.execution", body.into()).await.unwrap();
        assert!(reply.headers.is_none());
        let reply: serde_json::Value = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(reply["execution_id"].as_str().unwrap().len(), size);
    }
    drop(serving);
    // It answers: what it gets is plain JSON.
    let probe = GetExecutionRequest { execution_id: "e1".into() };
    eventually(Duration::from_secs(60), "the service is gone", || async {
        let answer = client.request_within(&probe, Duration::from_millis(200)).await;
        answer.is_err_and(|fault| fault.code == Code::Unavailable)
    })
    .await;
    let mut asked = worker.subscribe("workflow.query.execution").await.unwrap();
    let answering = tokio::spawn({
        let worker = worker.clone();
        async move {
            let message = asked.next().await.unwrap();
            let mut body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            body["status"] = "plain".into();
            worker.publish(message.reply.unwrap(), body.to_string().into()).await.unwrap();
        }
    });
    let text = prose(100 << 10);
    let question = GetExecutionRequest { execution_id: text.clone() };
    // The server learns of the worker's subscription a moment later.
    let reply =
        eventually(Duration::from_secs(60), "the worker answers", || client.request(&question))
            .await;
    assert!(reply.execution_id == text && reply.status == "plain");
    answering.await.unwrap();
    // It publishes and reads a durable message: JSON in and out.
    let stream = raw(&nats).await;
    let body =
        json!({"execution_id": "e1", "task": "/do/0", "tool": "echo", "idempotency_key": "k"});
    let ack = stream.publish("tool.execution.requested", body.to_string().into()).await.unwrap();
    ack.await.unwrap();
    let seen = Seen::default();
    let tool = connect(&nats, "tool").await;
    let _handling = serve(&tool, Routes::new(seen.clone()).on(note));
    eventually(Duration::from_secs(60), "the command is handled", || async {
        seen.lock().unwrap().first() == Some(&command("k"))
    })
    .await;
    let published = server.publish(&command("other"), &id("other")).await.unwrap();
    let (_, plain) = stored(&stream, published.sequence).await;
    assert_eq!(serde_json::from_slice::<ToolExecutionRequested>(&plain).unwrap(), command("other"));
}
