//! Requests are always answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use muster_bus::trace::Trace;
use muster_bus::{Bus, Routes};
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use muster_contracts::tool::v1::ExecuteToolRequest;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};
use tokio_util::sync::CancellationToken;

use crate::log::Log;
use crate::{connect, connect_freely, serve};

const PATIENCE: Duration = Duration::from_secs(60);

async fn answer(_app: (), request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
    match request.execution_id.as_str() {
        "panic" => panic!("as a bug would"),
        "bug" => Err(Fault::new(Code::Internal, "the secret is 42")),
        "gone" => Err(Fault::new(Code::NotFound, "execution \"gone\" is not there")
            .with_details(serde_json::json!({"id": "gone"}))),
        id => Ok(ExecutionState { execution_id: id.into(), ..Default::default() }),
    }
}

async fn ask(bus: &Bus, id: &str) -> Result<ExecutionState, Fault> {
    bus.request_within(&GetExecutionRequest { execution_id: id.into() }, PATIENCE).await
}

async fn until_served(bus: &Bus) {
    eventually(PATIENCE, "the service answers", || ask(bus, "e1")).await;
}

#[tokio::test]
async fn a_request_gets_its_typed_reply() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let _serving = serve(&server, Routes::new(()).rpc(answer));
    until_served(&client).await;
    assert_eq!(ask(&client, "e7").await.unwrap().execution_id, "e7");
}

#[tokio::test]
async fn a_fault_arrives_with_its_code_text_and_details() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    until_served(&bus).await;
    let fault = ask(&bus, "gone").await.unwrap_err();
    assert_eq!(
        (fault.code, fault.message.as_str()),
        (Code::NotFound, "execution \"gone\" is not there")
    );
    assert_eq!(fault.details["id"], "gone");
}

#[tokio::test]
async fn a_panicking_handler_is_answered_and_the_service_goes_on() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    until_served(&bus).await;
    assert_eq!(ask(&bus, "panic").await.unwrap_err().code, Code::Internal);
    assert_eq!(ask(&bus, "e1").await.unwrap().execution_id, "e1");
}

#[tokio::test]
async fn what_is_internal_stays_inside() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    until_served(&bus).await;
    let (log, _logging) = Log::capture();
    let trace = Trace::new();
    let fault = trace.run(ask(&bus, "bug")).await.unwrap_err();
    assert_eq!(fault, Fault::new(Code::Internal, "internal error"));
    // Who has the trace's id of the answer finds the cause by it.
    let lines = log.lines(&trace.trace_id());
    assert_eq!(lines.len(), 1, "{lines:?}");
    for word in ["ERROR", "handler failed", "the secret is 42", "GetExecution"] {
        assert!(lines[0].contains(word), "no {word:?} in {lines:?}");
    }
}

#[tokio::test]
async fn a_malformed_body_is_answered_with_what_is_wrong() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    until_served(&bus).await;
    let raw = nats.client("operator").await;
    for (body, expected) in [
        ("{\"execution_id\": ", "not a muster.workflow.v1"),
        ("[1]", "not a muster.workflow.v1"),
        ("{}", "needs `execution_id`"),
        ("\u{0}", "not a muster"),
    ] {
        let reply = raw.request("workflow.query.execution", body.into()).await.unwrap();
        let fault: Fault = serde_json::from_slice(&reply.payload).unwrap();
        assert_eq!(fault.code, Code::Invalid, "{body}");
        assert!(fault.message.contains(expected), "{body}: {}", fault.message);
        assert_eq!(reply.headers.unwrap().get("Nats-Service-Error-Code").unwrap().as_str(), "400");
    }
}

#[tokio::test]
async fn a_request_that_nobody_serves_fails_at_once() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "gateway").await;
    let fault = ask(&bus, "e1").await.unwrap_err();
    // At the deadline it would be another code.
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("nobody serves workflow.query.execution"), "{}", fault.message);
}

/// A handler whose slow requests wait for leave to be answered.
#[derive(Clone, Default)]
struct Gate {
    began: Arc<AtomicU32>,
    open: CancellationToken,
}

impl Gate {
    async fn pass(self, request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
        if request.execution_id == "slow" {
            self.began.fetch_add(1, Ordering::SeqCst);
            self.open.cancelled().await;
        }
        Ok(ExecutionState { status: request.execution_id, ..Default::default() })
    }

    async fn until_began(&self, count: u32) {
        eventually(PATIENCE, "the handlers begin", || async {
            self.began.load(Ordering::SeqCst) >= count
        })
        .await;
    }
}

#[tokio::test]
async fn a_stop_sends_every_reply_that_is_in_flight() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let gate = Gate::default();
    let (guard, task) = serve(&server, Routes::new(gate.clone()).rpc(Gate::pass));
    until_served(&client).await;
    let asked: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { ask(&client, "slow").await }
            })
        })
        .collect();
    gate.until_began(10).await;
    drop(guard);
    gate.open.cancel();
    for reply in asked {
        assert_eq!(reply.await.unwrap().unwrap().status, "slow");
    }
    task.await.unwrap().unwrap();
    assert_eq!(ask(&client, "e1").await.unwrap_err().code, Code::Unavailable);
}

#[tokio::test]
async fn a_stop_is_noticed_with_as_many_requests_in_hand_as_there_may_be() {
    const MOST: u32 = 1024;
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let gate = Gate::default();
    let (guard, task) = serve(&server, Routes::new(gate.clone()).rpc(Gate::pass));
    until_served(&client).await;
    let asked: Vec<_> = (0..MOST + 100)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { ask(&client, "slow").await })
        })
        .collect();
    gate.until_began(MOST).await;
    drop(guard);
    // Whoever asks now is not routed to what waits here.
    eventually(PATIENCE, "nobody serves any more", || async {
        let e1 = GetExecutionRequest { execution_id: "e1".into() };
        let fault = client.request_within(&e1, Duration::from_millis(200)).await.unwrap_err();
        if fault.code == Code::Unavailable { Ok(()) } else { Err(fault) }
    })
    .await;
    gate.open.cancel();
    for reply in asked {
        assert_eq!(reply.await.unwrap().unwrap().status, "slow");
    }
    task.await.unwrap().unwrap();
}

async fn count(
    asked: Arc<AtomicU32>,
    request: GetExecutionRequest,
) -> Result<ExecutionState, Fault> {
    asked.fetch_add(1, Ordering::SeqCst);
    answer((), request).await
}

#[tokio::test]
async fn a_replica_that_stops_answers_all_that_was_routed_to_it() {
    let nats = NatsServer::start().await;
    let (stays, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let _serving = serve(&stays, Routes::new(()).rpc(answer));
    until_served(&client).await;
    let over = CancellationToken::new();
    let askers: Vec<_> = (0..16)
        .map(|_| {
            let (client, over) = (client.clone(), over.clone());
            tokio::spawn(async move {
                while !over.is_cancelled() {
                    ask(&client, "e1").await?;
                }
                Ok::<(), Fault>(())
            })
        })
        .collect();
    for _ in 0..20 {
        let (asked, replica) = (Arc::<AtomicU32>::default(), connect(&nats, "orchestration").await);
        let (stop, stopped) = serve(&replica, Routes::new(asked.clone()).rpc(count));
        eventually(PATIENCE, "it is asked", || async { asked.load(Ordering::SeqCst) > 0 }).await;
        drop(stop);
        stopped.await.unwrap().unwrap();
    }
    over.cancel();
    for asker in askers {
        assert_eq!(asker.await.unwrap(), Ok(()));
    }
}

#[tokio::test]
async fn a_service_tells_who_it_is_and_what_it_has_done() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "orchestration").await;
    let _serving = serve(&bus, Routes::new(()).rpc(answer));
    until_served(&bus).await;
    ask(&bus, "gone").await.unwrap_err();
    let operator = nats.client("operator").await;
    let tell = async |subject: &str| -> serde_json::Value {
        let answer = operator.request(subject.to_owned(), "".into()).await.unwrap();
        serde_json::from_slice(&answer.payload).unwrap()
    };
    let ping = tell("$SRV.PING").await;
    assert_eq!(
        (&ping["type"], &ping["name"]),
        (&"io.nats.micro.v1.ping_response".into(), &"orchestration".into())
    );
    let info = tell("$SRV.INFO.orchestration").await;
    assert_eq!(info["endpoints"][0]["subject"], "workflow.query.execution");
    let subject = format!("$SRV.STATS.orchestration.{}", ping["id"].as_str().unwrap());
    let stats = eventually(PATIENCE, "the error is counted", || async {
        let stats = tell(&subject).await;
        if stats["endpoints"][0]["num_errors"] == 0 { Err(stats) } else { Ok(stats) }
    })
    .await;
    let endpoint = &stats["endpoints"][0];
    assert!(endpoint["num_requests"].as_u64() >= Some(2), "{stats}");
    assert_eq!(endpoint["num_errors"], 1);
    assert_eq!(endpoint["last_error"], "execution \"gone\" is not there");
}

fn complete(key: &str) -> CompleteRequest {
    CompleteRequest {
        provider: "offline".into(),
        idempotency_key: key.into(),
        ..Default::default()
    }
}

/// Counts what has begun.
async fn model(began: Arc<AtomicU32>, request: CompleteRequest) -> Result<CompleteResponse, Fault> {
    began.fetch_add(1, Ordering::SeqCst);
    let work = if request.idempotency_key == "for ever" {
        Duration::from_secs(3600)
    } else {
        Duration::from_millis(2500)
    };
    tokio::time::sleep(work).await;
    Ok(CompleteResponse { model: "m".into(), ..Default::default() })
}

/// Waits until somebody answers. A stream keeps what is asked, so that nobody is told that there is nobody yet.
async fn served(bus: &Bus) {
    eventually(PATIENCE, "somebody answers", || async {
        bus.request_within(&complete("k"), Duration::from_secs(30)).await
    })
    .await;
}

#[tokio::test]
async fn a_long_request_outlives_many_signs_of_life_and_a_plain_client_gets_one_reply() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "model").await;
    let _serving = serve(&bus, Routes::new(Arc::default()).rpc(model));
    served(&bus).await;
    let raw = nats.client("operator").await;
    let body = serde_json::to_vec(&complete("k")).unwrap();
    let request = complete("k");
    let reply = bus.request_within(&request, PATIENCE);
    let (reply, plain) = tokio::join!(reply, raw.request("llm.request.offline", body.into()));
    assert_eq!(reply.unwrap().model, "m");
    assert_eq!(
        serde_json::from_slice::<CompleteResponse>(&plain.unwrap().payload).unwrap().model,
        "m"
    );
}

#[tokio::test]
async fn the_end_of_a_server_in_the_middle_of_a_long_request_is_noticed() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "model").await, connect(&nats, "agent").await);
    let began = Arc::<AtomicU32>::default();
    let (_guard, task) = serve(&server, Routes::new(began.clone()).rpc(model));
    served(&client).await;
    let before = began.load(Ordering::SeqCst);
    let asked = tokio::spawn(async move {
        client.request_within(&complete("for ever"), Duration::from_secs(3600)).await
    });
    eventually(PATIENCE, "the work begins", || async { began.load(Ordering::SeqCst) > before })
        .await;
    // Some signs of life come.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    task.abort();
    let fault = asked.await.unwrap().unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("no sign of life"), "{}", fault.message);
}

/// It got the request and was killed before it could say so.
#[tokio::test]
async fn the_end_of_a_server_before_its_first_sign_of_life_is_noticed() {
    let nats = NatsServer::start().await;
    let client = connect(&nats, "agent").await;
    let killed = nats.client("operator").await;
    let _requests = killed.subscribe("tool.execute").await.unwrap();
    killed.request("$JS.API.INFO", "".into()).await.unwrap();
    let call = ExecuteToolRequest { tool: "echo".into(), ..Default::default() };
    let fault = client.request_within(&call, Duration::from_secs(3600)).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("no sign of life"), "{}", fault.message);
}

#[tokio::test]
async fn a_request_while_the_server_is_away_fails_within_the_outage_budget() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "gateway").await;
    nats.kill();
    // At the deadline it would be another code.
    let request = GetExecutionRequest { execution_id: "e1".into() };
    let fault = bus.request_within(&request, Duration::from_secs(3600)).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    nats.restart().await;
    eventually(Duration::from_secs(60), "the bus is back by itself", || async { bus.ping().await })
        .await;
}
