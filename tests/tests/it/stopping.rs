//! A service as a process: it may start first, says what it waits for, and ends in order.

use std::time::Duration;

use futures::StreamExt;
use muster_bus::{Bus, MessageId};
use muster_contracts::Addressed;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::workflow::v1::ListWorkflowsRequest;
use muster_testkit::{NatsServer, Program, eventually, free_port};

const DEADLINE: Duration = Duration::from_secs(60);

async fn get(url: &str) -> Result<(u16, String), reqwest::Error> {
    let answer = reqwest::get(url).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

async fn answers(url: &str, status: u16) -> String {
    eventually(DEADLINE, url, || async {
        match get(url).await {
            Ok((found, text)) if found == status => Ok(text),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_service_starts_before_its_server_tells_what_it_does_and_ends_with_code_0() {
    // Fails where another test has installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let nats = NatsServer::start().await;
    nats.kill();
    let address = format!("127.0.0.1:{}", free_port());
    let service = Program::of_workspace("muster-tool")
        .envs(nats.env(&[("MUSTER_HEALTH_ADDR", &address), ("MUSTER_DRAIN_TIMEOUT", "5")]))
        .spawn();
    let ready = format!("http://{address}/readyz");
    let text = answers(&ready, 503).await;
    assert!(text.contains("cannot be reached"), "{text}");
    nats.restart().await;
    answers(&ready, 200).await;
    let publisher = Bus::open(nats.settings("orchestration")).await.unwrap();
    publisher.ready().await;
    let command = ToolExecutionRequested {
        execution_id: "e1".into(),
        task: "/do/0".into(),
        tool: "echo".into(),
        arguments: None,
        idempotency_key: "k".into(),
        secrets: Vec::new(),
    };
    publisher.publish(&command, &MessageId::random()).await.unwrap();
    let metrics = format!("http://{address}/metrics");
    eventually(DEADLINE, "a handled message is counted", || async {
        let (_, text) = get(&metrics).await.map_err(|error| error.to_string())?;
        let counted = text.lines().any(|line| {
            line.starts_with("messaging_client_consumed_messages_total{")
                && line.contains("consumer=\"tool-tool-execution-requested\"")
                && line.contains("outcome=\"done\"")
        });
        if counted { Ok(()) } else { Err(text) }
    })
    .await;
    let status = service.terminate(DEADLINE).await;
    assert_eq!(status.code(), Some(0), "{}", service.log());
}

#[tokio::test]
async fn what_a_killed_service_was_asked_is_answered_when_it_is_back() {
    // Fails where another test has installed it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let nats = NatsServer::start().await;
    let address = format!("127.0.0.1:{}", free_port());
    let start = |service| {
        let health = format!("127.0.0.1:{}", free_port());
        let settings = [("MUSTER_HTTP_ADDR", address.as_str()), ("MUSTER_HEALTH_ADDR", &health)];
        Program::of_workspace(service).envs(nats.env(&settings)).spawn()
    };
    let (_gateway, orchestration) = (start("muster-gateway"), start("muster-orchestration"));
    let workflows = format!("http://{address}/v1/workflows");
    answers(&workflows, 200).await;
    let watch = nats.client("operator").await;
    let mut questions = watch.subscribe(ListWorkflowsRequest::SUBJECT).await.unwrap();
    watch.request("$JS.API.INFO", "".into()).await.unwrap();

    // It has the question, and cannot answer it any more.
    orchestration.pause();
    let asked = tokio::spawn(async move { get(&workflows).await });
    tokio::time::timeout(DEADLINE, questions.next()).await.unwrap().unwrap();
    questions.unsubscribe().await.unwrap();
    orchestration.kill_9();
    orchestration.restart();
    let (status, text) = asked.await.unwrap().unwrap();
    assert_eq!(status, 200, "{text}");
}
