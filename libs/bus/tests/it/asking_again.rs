//! What only reads is asked again where no answer comes: whoever had the request may have been killed.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures::StreamExt;
use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Bus, Routes};
use muster_contracts::workflow::v1::{
    ExecutionState, GetExecutionRequest, PutWorkflowRequest, WorkflowDefinition,
};
use muster_contracts::{Code, Fault, Request};
use muster_testkit::{NatsServer, eventually};
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::exchange::is_emptied;
use crate::payloads::{noise, raw};
use crate::{connect, serve};

const PATIENCE: Duration = Duration::from_secs(60);
/// At the deadline nobody waits here any more.
const HOUR: Duration = Duration::from_secs(3600);

/// The client asks the execution's state from now on.
fn ask(client: &Bus, deadline: Duration) -> JoinHandle<Result<ExecutionState, Fault>> {
    let client = client.clone();
    tokio::spawn(async move {
        client.request_within(&GetExecutionRequest { execution_id: "e1".into() }, deadline).await
    })
}

/// Takes requests as a service would, and answers none.
async fn silent(server: &Client, subject: &'static str) -> Subscriber {
    let requests = server.subscribe(subject).await.unwrap();
    server.request("$JS.API.INFO", "".into()).await.unwrap();
    requests
}

async fn next(requests: &mut Subscriber) -> async_nats::Message {
    timeout(PATIENCE, requests.next()).await.unwrap().unwrap()
}

async fn told<T>(asked: JoinHandle<Result<T, Fault>>) -> Result<T, Fault> {
    timeout(PATIENCE, asked).await.unwrap().unwrap()
}

fn state(status: &str) -> Vec<u8> {
    serde_json::to_vec(&ExecutionState { status: status.into(), ..Default::default() }).unwrap()
}

#[tokio::test]
async fn a_read_whose_server_was_killed_is_answered_by_the_next_one() {
    const AGAIN: &str =
        "muster_bus_asked_again_total{service=\"gateway\",method=\"get-execution\"}";
    // On this thread, where the tasks of this test run.
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let (client, killed) = (connect(&nats, "gateway").await, nats.client("operator").await);
    let mut requests = silent(&killed, "workflow.query.execution").await;
    let asked = ask(&client, HOUR);
    next(&mut requests).await;
    requests.unsubscribe().await.unwrap();
    killed.request("$JS.API.INFO", "".into()).await.unwrap();
    // Whoever asks only now is told that nobody is there; the one before waits for the next server.
    let away = told(ask(&client, HOUR)).await.unwrap_err();
    assert_eq!(away.code, Code::Unavailable);
    eventually(PATIENCE, "it was asked in vain", || async {
        let text = figures.render();
        let counted =
            text.lines().find_map(|line| line.strip_prefix(AGAIN)?.trim().parse::<u32>().ok());
        if counted >= Some(2) { Ok(()) } else { Err(text) }
    })
    .await;
    let server = connect(&nats, "orchestration").await;
    let answer = async |(), _request: GetExecutionRequest| -> Result<ExecutionState, Fault> {
        Ok(ExecutionState { status: "running".into(), ..Default::default() })
    };
    let _serving = serve(&server, Routes::new(()).rpc(answer));
    assert_eq!(told(asked).await.unwrap().status, "running");
}

#[tokio::test]
async fn a_late_answer_to_the_first_try_is_taken() {
    let nats = NatsServer::start().await;
    let (client, server) = (connect(&nats, "gateway").await, nats.client("operator").await);
    let mut requests = silent(&server, "workflow.query.execution").await;
    let asked = ask(&client, HOUR);
    let (first, second) = (next(&mut requests).await, next(&mut requests).await);
    assert_eq!(first.payload, second.payload);
    assert_ne!(first.reply, second.reply);
    server.publish(first.reply.unwrap(), state("slow").into()).await.unwrap();
    assert_eq!(told(asked).await.unwrap().status, "slow");
}

#[tokio::test]
async fn of_large_answers_that_nobody_reads_nothing_is_left() {
    let nats = NatsServer::start().await;
    let (client, server) = (connect(&nats, "gateway").await, connect(&nats, "orchestration").await);
    // The first one is answered when the second one is.
    let both = Arc::new(Barrier::new(2));
    let answer =
        async |both: Arc<Barrier>, request: GetExecutionRequest| -> Result<ExecutionState, Fault> {
            if request.execution_id == "e1" {
                both.wait().await;
            }
            Ok(ExecutionState { execution_id: noise(1 << 20), ..Default::default() })
        };
    let _serving = serve(&server, Routes::new(both).rpc(answer));
    let probe = GetExecutionRequest { execution_id: "probe".into() };
    eventually(PATIENCE, "the service answers", || async { client.request(&probe).await }).await;
    assert_eq!(told(ask(&client, HOUR)).await.unwrap().execution_id.len(), 1 << 20);
    let exchange = raw(&nats).await.get_object_store("EXCHANGE").await.unwrap();
    is_emptied(&exchange).await;
}

#[tokio::test]
async fn a_read_ends_at_its_deadline_however_often_it_was_asked() {
    let nats = NatsServer::start().await;
    let (client, server) = (connect(&nats, "gateway").await, nats.client("operator").await);
    let mut requests = silent(&server, "workflow.query.execution").await;
    let fault = told(ask(&client, Duration::from_millis(2500))).await.unwrap_err();
    assert_eq!(fault.code, Code::Deadline);
    assert!(fault.message.contains("within 2500 ms"), "{}", fault.message);
    next(&mut requests).await;
    next(&mut requests).await;
}

#[tokio::test]
async fn what_changes_something_is_asked_once() {
    let nats = NatsServer::start().await;
    let (client, server) = (connect(&nats, "gateway").await, nats.client("operator").await);
    let mut puts = silent(&server, "workflow.definition.put").await;
    let mut reads = silent(&server, "workflow.query.execution").await;
    let put = tokio::spawn({
        let client = client.clone();
        async move {
            let put = PutWorkflowRequest { source: "document: {}".into(), ..Default::default() };
            client.request_within(&put, HOUR).await
        }
    });
    let once = next(&mut puts).await;
    let _asked = ask(&client, HOUR);
    // The read began later, so that the other would have been asked again before.
    for _ in 0..2 {
        next(&mut reads).await;
    }
    let body = serde_json::to_vec(&WorkflowDefinition::default()).unwrap();
    server.publish(once.reply.unwrap(), body.into()).await.unwrap();
    told(put).await.unwrap();
    puts.unsubscribe().await.unwrap();
    assert!(timeout(PATIENCE, puts.next()).await.unwrap().is_none(), "it was asked again");
    const { assert!(!PutWorkflowRequest::READS && GetExecutionRequest::READS) };
}
