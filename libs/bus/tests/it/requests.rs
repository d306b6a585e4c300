//! Requests are always answered.

use std::time::Duration;

use muster_bus::trace::Trace;
use muster_bus::{Bus, Routes};
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use muster_contracts::tool::v1::ExecuteToolRequest;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
use muster_contracts::{Code, Fault};
use muster_testkit::{NatsServer, eventually};
use tokio::time::Instant;

use crate::log::Log;
use crate::{connect, connect_freely, serve};

async fn answer(_app: (), request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
    match request.execution_id.as_str() {
        "panic" => panic!("as a bug would"),
        "bug" => Err(Fault::new(Code::Internal, "the secret is 42")),
        "gone" => Err(Fault::new(Code::NotFound, "execution \"gone\" is not there")
            .with_details(serde_json::json!({"id": "gone"}))),
        "slow" => {
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(ExecutionState { status: "slow".into(), ..Default::default() })
        }
        id => Ok(ExecutionState { execution_id: id.into(), ..Default::default() }),
    }
}

async fn ask(bus: &Bus, id: &str) -> Result<ExecutionState, Fault> {
    bus.request_within(&GetExecutionRequest { execution_id: id.into() }, Duration::from_secs(5))
        .await
}

async fn until_served(bus: &Bus) {
    eventually(Duration::from_secs(5), "the service answers", || ask(bus, "e1")).await;
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
    let started = Instant::now();
    let fault = ask(&bus, "e1").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("nobody serves workflow.query.execution"), "{}", fault.message);
    assert!(started.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_stop_sends_every_reply_that_is_in_flight() {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats, "orchestration").await, connect(&nats, "gateway").await);
    let (guard, task) = serve(&server, Routes::new(()).rpc(answer));
    until_served(&client).await;
    let asked: Vec<_> = (0..10)
        .map(|_| {
            tokio::spawn({
                let client = client.clone();
                async move { ask(&client, "slow").await }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    drop(guard);
    for reply in asked {
        assert_eq!(reply.await.unwrap().unwrap().status, "slow");
    }
    task.await.unwrap().unwrap();
    assert_eq!(ask(&client, "e1").await.unwrap_err().code, Code::Unavailable);
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
    let stats = tell(&format!("$SRV.STATS.orchestration.{}", ping["id"].as_str().unwrap())).await;
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

async fn model(_app: (), request: CompleteRequest) -> Result<CompleteResponse, Fault> {
    let work = if request.idempotency_key == "for ever" {
        Duration::from_secs(3600)
    } else {
        Duration::from_millis(2500)
    };
    tokio::time::sleep(work).await;
    Ok(CompleteResponse { model: "m".into(), ..Default::default() })
}

#[tokio::test]
async fn a_long_request_outlives_many_signs_of_life_and_a_plain_client_gets_one_reply() {
    let nats = NatsServer::start().await;
    let bus = connect_freely(&nats, "model").await;
    let _serving = serve(&bus, Routes::new(()).rpc(model));
    let raw = nats.client("operator").await;
    let body = serde_json::to_vec(&complete("k")).unwrap();
    let request = complete("k");
    let reply = bus.request_within(&request, Duration::from_secs(20));
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
    let (_guard, task) = serve(&server, Routes::new(()).rpc(model));
    let asked = tokio::spawn(async move {
        client.request_within(&complete("for ever"), Duration::from_secs(60)).await
    });
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
    let fault = client.request_within(&call, Duration::from_secs(60)).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("no sign of life"), "{}", fault.message);
}

#[tokio::test]
async fn a_request_while_the_server_is_away_fails_within_the_outage_budget() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "gateway").await;
    nats.kill();
    let started = Instant::now();
    let fault = bus.request(&GetExecutionRequest { execution_id: "e1".into() }).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    nats.restart().await;
    eventually(Duration::from_secs(10), "the bus is back by itself", || async { bus.ping().await })
        .await;
}
