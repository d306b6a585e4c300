//! `muster dlq` and `muster events` on services that run.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed helper is a failed test"
)]

use muster_bus::{Bus, MessageId};
use muster_contracts::Json;
use muster_contracts::workflow::v1::StartExecution;
use muster_testkit::{NatsServer, Process, eventually, free_port};
use muster_workflow::Definition;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    PATIENCE, WORKFLOW,
    program::{Muster, folder_with, program, up},
};

struct Running {
    nats: NatsServer,
    server: String,
    _services: Process,
}

impl Running {
    async fn start() -> Self {
        let nats = NatsServer::start().await;
        let (services, server) = up(&nats, "gateway,orchestration").await;
        Self { nats, server, _services: services }
    }

    /// Starts the workflow under these ids, as the gateway does.
    async fn start_executions(&self, digest: &str, ids: &[&str]) {
        let bus = Bus::open(self.nats.settings("gateway")).await.unwrap();
        bus.ready().await;
        for id in ids {
            let command = StartExecution {
                execution_id: (*id).to_owned(),
                workflow: "one".to_owned(),
                version: "1.0.0".to_owned(),
                digest: digest.to_owned(),
                input: Some(Json(json!({}))),
                ..Default::default()
            };
            bus.publish(&command, &MessageId::derived(["start", id])).await.unwrap();
        }
    }

    async fn dlq(&self, arguments: &[&str]) -> Muster {
        let server = ["--server", &self.server];
        Muster::run(&[&["dlq"], arguments, &server].concat()).await
    }

    async fn letters(&self, count: usize) -> Vec<Value> {
        let listed = eventually(PATIENCE, "dead letters", || async {
            let log = self.dlq(&["ls", "--json"]).await.log;
            let page: Value = serde_json::from_str(&log).ok()?;
            let letters = page["dead_letters"].as_array()?.clone();
            (letters.len() == count).then_some(letters)
        });
        listed.await
    }

    async fn refuses_filters_that_nothing_can_fit(&self) {
        let refused = async |arguments: &[&str], words: &[&str]| {
            self.dlq(&[&["ls"], arguments].concat()).await.failed(1, words);
        };
        refused(&["--code", "WRONG"], &["no code \"WRONG\"", "NOT_FOUND", "MAX_DELIVERIES"]).await;
        refused(&["--stream", "EVENTS"], &["no stream \"EVENTS\"", "EXECUTIONS, "]).await;
        refused(&["--type", "Start"], &["no message type \"Start\"", "StartExecution"]).await;
        refused(&["--since", "1h", "--until", "2h"], &["since is ", "must be before until"]).await;
    }

    async fn events(&self, arguments: &[&str]) -> Muster {
        Muster::run_for(program(arguments).envs(self.nats.operator_env(&[])), PATIENCE).await
    }
}

/// Where the letter of this execution stands. Commands are handled side by side, so letters have any order.
fn sequence_of(execution: &str, letters: &[Value]) -> String {
    let mine = letters.iter().find(|letter| letter["message"]["execution_id"] == execution);
    mine.unwrap()["sequence"].to_string()
}

/// The dependency that is missing is the workflow itself; the message that fails is the start of an execution.
#[tokio::test]
async fn an_execution_that_could_not_start_completes_when_its_letter_is_replayed() {
    // Fails where another test was first, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let running = Running::start().await;
    let digest = Definition::parse(WORKFLOW).unwrap().digest().to_owned();
    running.start_executions(&digest, &["e1", "e2", "e3", "e4"]).await;
    // Nothing is registered yet: all fail again, and each is told.
    let before = running.letters(4).await;
    let all = running.dlq(&["replay", "--all", "--rate", "20"]).await;
    all.failed(1, &["0 handled, 4 failed", "no workflow definition has the digest"]);
    assert!(running.letters(4).await.iter().all(|letter| !before.contains(letter)));
    let sequence = sequence_of("e1", &running.letters(4).await);
    running.dlq(&["ls"]).await.succeeded(&[
        "SEQUENCE",
        "NOT_FOUND",
        "orchestration-start-execution",
        &digest[..20],
    ]);
    let none = running.dlq(&["ls", "--code", "INVALID"]).await;
    none.succeeded(&["no dead letters"]);
    assert!(!none.log.contains("SEQUENCE"), "{}", none.log);
    running.refuses_filters_that_nothing_can_fit().await;
    running.dlq(&["show", &sequence]).await.succeeded(&[
        "workflow.command.start",
        "muster.workflow.v1.StartExecution",
        "ce-id: ",
        "\"execution_id\": \"e1\"",
    ]);
    let failed = running.dlq(&["replay", &sequence]).await;
    failed.failed(1, &["failed", "NOT_FOUND: no workflow definition has the digest"]);

    let folder = folder_with(&[("workflows/one.yaml", WORKFLOW)]);
    let here = folder.path().display().to_string();
    Muster::run(&["apply", "-f", &here, "--server", &running.server]).await.succeeded(&["one"]);
    let sequence = sequence_of("e1", &running.letters(4).await);
    running.dlq(&["replay", &sequence]).await.succeeded(&[&sequence, "handled"]);
    running.dlq(&["replay", "--execution", "e2"]).await.succeeded(&["1 handled, 0 failed"]);
    let rest = running.dlq(&["replay", "--all", "--rate", "20", "--json"]).await;
    rest.succeeded(&["\"handled\":2"]);
    running.letters(0).await;
    for id in ["e1", "e2", "e3", "e4"] {
        let url = format!("{}/v1/executions/{id}", running.server);
        eventually(PATIENCE, "the execution completes", || async {
            let state: Value = reqwest::get(&url).await.ok()?.json().await.ok()?;
            (state["status"] == "completed").then(|| assert_eq!(state["output"]["hello"], "world"))
        })
        .await;
    }

    running.start_executions("0000", &["e5", "e6"]).await;
    running.letters(2).await;
    running.dlq(&["purge"]).await.failed(1, &["which letters?", "--all"]);
    running.dlq(&["purge", "--all"]).await.failed(1, &["2 dead letters fit", "--yes"]);
    let sequence = running.letters(2).await[0]["sequence"].to_string();
    running.dlq(&["purge", &sequence]).await.succeeded(&["removed"]);
    running.dlq(&["purge", "--code", "NOT_FOUND", "--yes"]).await.succeeded(&["1 removed"]);
    running.dlq(&["show", &sequence]).await.failed(1, &["404", "there is no dead letter"]);
    running.letters(0).await;
}

#[tokio::test]
async fn streams_are_read_from_a_sequence_or_a_time_by_subject() {
    let running = Running::start().await;
    running.start_executions("0a", &["e1", "e2"]).await;
    running.letters(2).await;
    let all = running.events(&["events", "replay"]).await;
    all.succeeded(&["workflow.command.start", "\"execution_id\":\"e1\"", "\"e2\""]);
    let second = running.events(&["events", "replay", "--since", "2", "--json"]).await;
    let line: Value = serde_json::from_str(second.log.lines().next().unwrap()).unwrap();
    assert_eq!((&line["sequence"], &line["body"]["execution_id"]), (&json!(2), &json!("e2")));
    assert_eq!(line["type"], "muster.workflow.v1.StartExecution");
    let nothing = running.events(&["events", "replay", "--subject", "agent.>"]).await;
    nothing.succeeded(&[]);
    assert!(!nothing.log.contains("workflow.command.start"), "{}", nothing.log);
    let letters =
        running.events(&["replay", "DLQ", "--since", "1h", "--filter", "dlq.>", "--json"]).await;
    letters.succeeded(&["orchestration-start-execution"]);

    let tail =
        program(&["events", "tail", "--since", "2"]).envs(running.nats.operator_env(&[])).spawn();
    eventually(PATIENCE, "the tail shows what is there", || async {
        tail.log().contains("\"e2\"")
    })
    .await;
    running.start_executions("0a", &["e3"]).await;
    eventually(PATIENCE, "the tail shows what comes", || async { tail.log().contains("\"e3\"") })
        .await;
    assert!(!tail.log().contains("\"e1\""));
}

#[tokio::test]
async fn commands_that_cannot_work_say_what_would_be_right() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let away = Muster::run(&["dlq", "ls", "--server", &nobody]).await;
    away.failed(1, &["cannot reach Muster", &nobody, "--server"]);
    let words = ["--since: \"soon\" is no time: write 30s,", "30d"];
    Muster::run(&["dlq", "ls", "--since", "soon"]).await.failed(1, &words);
    Muster::run(&["dlq", "ls", "--until", "-1h"]).await.failed(1, &["--until: \"-1h\" is no time"]);
    let soon = Muster::run(&["events", "tail", "--since", "soon"]).await;
    soon.failed(1, &[&words[..], &["or a sequence such as 1200"]].concat());
    for (arguments, words) in [
        (["dlq", "ls", "--limit", "-1"], ["'-1'", "'--limit <N>'", "a number from 1 to 1000"]),
        (["dlq", "ls", "--limit", "0"], ["'0'", "'--limit <N>'", "a number from 1 to 1000"]),
        (
            ["dlq", "replay", "--all", "--rate=-5"],
            ["'-5'", "'--rate <N>'", "a number from 1 to 1000"],
        ),
        (["dlq", "purge", "--yes", "-7"], ["'-7'", "a number from 1 on", "muster dlq ls"]),
    ] {
        Muster::run(&arguments).await.failed(2, &words);
    }
    Muster::run(&["dlq", "show", "x"]).await.failed(2, &["'x'", "a number from 1 on"]);
    Muster::run(&["dlq", "replay", "7", "--all"]).await.failed(2, &["--all"]);
    let stream = Muster::run(&["events", "replay", "--stream", "EVENTS"]).await;
    stream.failed(1, &["there is no stream \"EVENTS\"", "EXECUTIONS", "DLQ"]);
    let pattern = Muster::run(&["events", "tail", "--stream", "DLQ", "--subject", "tool.>"]).await;
    pattern.failed(1, &["DLQ has no subject that fits \"tool.>\""]);
    let replay = async |url: &str| {
        Muster::run_for(program(&["events", "replay"]).env("NATS_URL", url), PATIENCE).await
    };
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let (nobody, garbage) = futures::join!(replay(&nobody), replay("muster.invalid"));
    nobody.failed(1, &["NATS_PASSWORD_OPERATOR"]);
    let example = "an address like nats://127.0.0.1:4222";
    garbage.failed(1, &["the name \"muster.invalid\" cannot be looked up", example]);
    replay("nats://").await.failed(1, &["NATS_URL has \"nats://\"", example]);
}

/// Answers each connection with this text.
async fn answering(text: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Like nats-server, who speaks first is no HTTP server.
            if text.starts_with("HTTP") {
                stream.read_buf(&mut Vec::new()).await.unwrap_or_default();
            }
            stream.write_all(text.as_bytes()).await.unwrap();
            // The end of what the client sends: a connection that is closed before could lose the answer.
            stream.read_to_end(&mut Vec::new()).await.unwrap_or_default();
        }
    });
    address
}

#[tokio::test]
async fn a_server_that_is_no_gateway_is_told_with_what_it_answers() {
    let check = async |answer: &'static str, words: &[&str]| {
        let server = answering(answer).await;
        let ls = Muster::run(&["dlq", "ls", "--server", &server]).await;
        ls.failed(1, &[&[&server, "is no Muster gateway", "--server"], words].concat());
    };
    check("INFO {\"server_name\":\"n\"}\r\n", &["does not speak HTTP"]).await;
    check(
        "HTTP/1.1 404 Not Found\r\nServer: other\r\nContent-Length: 4\r\n\r\nnope",
        &["404 Not Found", "\"other\"", "nope"],
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        &["200 OK with text/html", "no JSON"],
    )
    .await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", &["no list `dead_letters`"]).await;
}
