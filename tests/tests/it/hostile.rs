//! Hostile input on every subject of the contract: each message is answered or becomes a dead letter with its reason, and every service goes on.

mod corpus;
mod raw;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_contracts::permissions::{consumer_name, on_demand};
use muster_contracts::{CATALOGUE, Entry, Kind, MessageType, Stream, subject};
use muster_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::platform::{Platform, read};
use raw::{Answer, Raw};

const PATIENCE: Duration = Duration::from_secs(60);
/// A signal may come before the start of its execution, so one of an execution that never was is tried for minutes.
const MAY_WAIT: &str = "orchestration-signal-execution";
const ALL_HANDLED_WITHIN: Duration = Duration::from_secs(300);

/// A subject of the entry that somebody serves.
fn address(entry: &Entry) -> String {
    match entry.subject {
        "tools.{name}" => "tools.echo".to_owned(),
        "llm.request.{provider}" => "llm.request.offline".to_owned(),
        "dead_letter.replay.{service}" => "dead_letter.replay.tool".to_owned(),
        template => subject::pattern(template).replace('*', "hostile"),
    }
}

type Message = (corpus::Headers, Vec<u8>);

/// Every body without headers, and one body with every set of headers.
fn messages(entry: &Entry) -> Vec<Message> {
    let bodies = corpus::bodies(entry.message);
    let one = bodies.last().cloned().unwrap_or_default();
    let with_headers = corpus::HEADERS.iter().map(|headers| (*headers, one.clone()));
    bodies.iter().map(|body| (corpus::NO_HEADERS, body.clone())).chain(with_headers).collect()
}

/// The answer of whoever serves the request, which may have to start first.
async fn answer(
    raw: &mut Raw,
    entry: &Entry,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Option<Answer> {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        let answer = raw.request(&address(entry), headers, body, PATIENCE).await?;
        if !answer.headers.starts_with("NATS/1.0 503") {
            return Some(answer);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    None
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_answered_whatever_it_says() {
    let platform = Platform::start().await;
    let mut raw = Raw::connect(&platform.nats.url_of("operator")).await;
    let mut counts = BTreeMap::<String, usize>::new();
    for entry in CATALOGUE.iter().filter(|entry| entry.kind == Kind::Request && !entry.planned) {
        for (headers, body) in messages(entry) {
            let shown: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            let answer = answer(&mut raw, entry, headers, &body).await;
            let answer = answer
                .unwrap_or_else(|| panic!("{}: no answer to {headers:?} {shown}", entry.subject));
            let code = answer.json()["code"].as_str().unwrap_or("an answer").to_owned();
            assert_ne!(code, "INTERNAL", "{}: {headers:?} {shown}", entry.subject);
            *counts.entry(code).or_default() += 1;
        }
    }
    println!("requests were answered by {counts:?}");
    assert!(counts["INVALID"] > 100, "{counts:?}");
    goes_on(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_is_handled_or_a_dead_letter_with_its_reason() {
    let platform = Platform::start().await;
    let mut raw = Raw::connect(&platform.nats.url_of("operator")).await;
    let (mut sent, mut unreadable) = (0, BTreeMap::<String, usize>::new());
    for entry in CATALOGUE.iter().filter(|entry| entry.stream.is_some() && !entry.planned) {
        if entry.stream == Some(Stream::Dlq) || entry.kind == Kind::Request {
            continue;
        }
        // Nobody made it yet: without a stream a message is lost, and its sender hears so.
        if entry.stream.is_some_and(on_demand) {
            continue;
        }
        let acknowledged = !entry.stream.unwrap().settings().no_ack;
        for (headers, body) in messages(entry) {
            let kind = MessageType::named(entry.message).unwrap();
            if matches!(entry.kind, Kind::Event | Kind::Command) && kind.canonical(&body).is_err() {
                for service in entry.consumers.iter().filter(|name| **name != "execution-log") {
                    *unreadable.entry(consumer_name(service, entry.message)).or_default() += 1;
                }
            }
            if acknowledged {
                let answer = raw.request(&address(entry), headers, &body, PATIENCE).await.unwrap();
                assert!(answer.json()["seq"].is_u64(), "{}: {}", entry.subject, answer.json());
            } else {
                raw.publish(&address(entry), "", headers, &body).await;
            }
            sent += 1;
        }
    }
    let consumers = all_handled(&mut raw).await;
    let letters = dead_letters(&platform).await;
    println!("{sent} messages were sent; dead letters by consumer and code: {letters:?}");
    assert!(letters.keys().all(|(_, code)| !code.is_empty()), "{letters:?}");
    // Whatever cannot be read is a letter of every consumer; there are more of what can be read and makes no sense.
    for (consumer, count) in unreadable.into_iter().filter(|(name, _)| consumers.contains(name)) {
        let found = letters.get(&(consumer.clone(), "INVALID".to_owned())).copied();
        assert!(found >= Some(count), "{consumer}: {count} were unreadable; {letters:?}");
    }
    goes_on(&platform).await;
}

/// Waits until no durable consumer has anything left, and returns their names.
async fn all_handled(raw: &mut Raw) -> BTreeSet<String> {
    let end = Instant::now() + ALL_HANDLED_WITHIN;
    let mut quiet = 0;
    loop {
        let (mut left, mut names) = (Vec::new(), BTreeSet::new());
        for stream in Stream::ALL {
            let subject = format!("$JS.API.CONSUMER.LIST.{}", stream.name());
            let list = raw.request(&subject, &[], b"{}", PATIENCE).await.unwrap().json();
            for consumer in list["consumers"].as_array().into_iter().flatten() {
                let Some(name) = consumer["config"]["durable_name"].as_str() else { continue };
                let count = |what: &str| consumer[what].as_u64().unwrap_or_default();
                let (waiting, at_work) = (count("num_pending"), count("num_ack_pending"));
                if waiting + at_work > 0 && !(name == MAY_WAIT && waiting == 0) {
                    left.push((name.to_owned(), waiting, at_work));
                }
                names.insert(name.to_owned());
            }
        }
        quiet = if left.is_empty() { quiet + 1 } else { 0 };
        // What one handled may be an event for another, whose turn was before.
        if quiet == 3 {
            return names;
        }
        assert!(Instant::now() < end, "not handled (name, waiting, at work): {left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn dead_letters(platform: &Platform) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for (_, letter) in platform.bus().await.dead_letters().list(100_000).await.unwrap() {
        assert!(!letter.reason.is_empty() && !letter.subject.is_empty(), "{letter:?}");
        // Rubbish lies in the journal, too: whose message needs it is told where.
        let damage = letter.reason.starts_with("journal.hostile");
        assert!(letter.code != "INTERNAL" || damage, "{letter:?}");
        *counts.entry((letter.consumer, letter.code)).or_default() += 1;
    }
    counts
}

/// No process ended or panicked, and the platform still does its work.
async fn goes_on(platform: &Platform) {
    for (service, process) in &platform.processes {
        assert!(process.is_running(), "{service} has ended");
        assert!(!process.log().contains("panicked"), "{service} panicked:\n{}", process.log());
    }
    platform.until_ready().await;
    let workflow = "document: {dsl: '1.0.3', namespace: t, name: after, version: '1.0.0'}\ndo:\n- a: {call: tool, with: {tool: echo, arguments: {value: 7}}}\n- b: {call: search, with: {collection: none, query: x}}\n";
    let name = platform.put_workflow(workflow.to_owned()).await;
    let id = platform.start_execution(&name, &json!({}), "after").await;
    let state = platform.ended(&id, Duration::from_secs(60)).await;
    // The collection is not there: search says so, and that is an answer too.
    let ended = state["status"] == "completed" || state["error"]["status"] == 404;
    assert!(ended, "{state:#}");
    eventually(PATIENCE, "the log has the execution", || async {
        let (status, events) = platform.get(&format!("/v1/executions/{id}/events")).await;
        let found = events["events"].as_array().is_some_and(|events| events.len() > 3);
        if status == StatusCode::OK && found { Ok(()) } else { Err(events) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_in_a_path_reaches_further_than_its_own_resource() {
    let platform = Platform::start().await;
    eventually(PATIENCE, "documents are found or not", || async {
        let (status, body) = platform.get("/v1/collections/c/documents/x").await;
        if status == StatusCode::NOT_FOUND { Ok(()) } else { Err(body) }
    })
    .await;
    let long = "x".repeat(10_000);
    for id in ["%2A", "%3E", "a.b", "a%20b", "%00", "..%2F..", "%0D%0A", "%E2%82%AC", long.as_str()]
    {
        for path in [
            "agents",
            "workflows",
            "executions",
            "tools",
            "deliverables/a/b",
            "collections/c/documents",
        ] {
            let (status, body) = platform.get(&format!("/v1/{path}/{id}")).await;
            let refused = matches!(status.as_u16(), 400 | 404 | 414);
            let shown: String = id.chars().take(20).collect();
            assert!(refused, "/v1/{path}/{shown}: {status} {body}");
            assert_eq!(body.get("trace_id").map(Value::is_string), Some(true), "{body}");
        }
    }
    goes_on(&platform).await;
}

/// Starts a workflow with an input as deep as this, and says how it ended: the status of the answer, or of the execution.
async fn run_deep(platform: &Platform, workflow: &str, depth: usize) -> String {
    let (open, close) = ("[".repeat(depth), "]".repeat(depth));
    let body = format!("{{\"workflow\": \"{workflow}\", \"input\": {open}{close}}}");
    let request = platform.client.post(platform.url("/v1/executions"));
    let request = request.header("content-type", "application/json").header("Prefer", "wait=120");
    let (status, body) = read(request.body(body).send().await.unwrap()).await;
    if status == StatusCode::BAD_REQUEST {
        assert!(body["detail"].as_str().unwrap().contains("nests deeper"), "{body}");
        return "refused".to_owned();
    }
    assert_eq!(status, StatusCode::OK, "{depth} levels in {workflow}: {body}");
    // What its journal says can be read, whoever asks for it later.
    let path = format!("/v1/executions/{}/replay", body["execution_id"].as_str().unwrap());
    let (status, replay) = platform.get(&path).await;
    assert_eq!(status, StatusCode::OK, "{depth} levels in {workflow}: {replay}");
    body["status"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_any_depth_are_refused_or_their_execution_ends() {
    let platform = Platform::start().await;
    let document = |name: &str, tasks: &str| {
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: {name}, version: '1.0.0'}}\ndo:\n{tasks}\n"
        )
    };
    let wrapped = format!("{}'${{ . }}'{}", "{x: ".repeat(20), "}".repeat(20));
    let growing =
        "- grow: {for: {each: n, in: '${ [range(200)] }'}, do: [{more: {set: {x: '${ . }'}}}]}";
    for (name, tasks) in [
        (
            "echoed",
            "- a: {call: tool, with: {tool: echo, arguments: {value: '${ . }'}}}".to_owned(),
        ),
        ("wrapped", format!("- a: {{set: {wrapped}}}\n- b: {{set: {{ok: true}}}}")),
        ("growing", growing.to_owned()),
    ] {
        platform.put_workflow(document(name, &tasks)).await;
        let mut ends = BTreeMap::<String, Vec<usize>>::new();
        for depth in [50, 100, 105, 110, 113, 115, 116, 117, 118, 119, 127, 128, 500, 100_000] {
            ends.entry(run_deep(&platform, name, depth).await).or_default().push(depth);
        }
        println!("{name}: {ends:?}");
        let over = ["completed", "faulted", "refused"];
        assert!(ends.keys().all(|end| over.contains(&end.as_str())), "{name}: {ends:?}");
    }
    goes_on(&platform).await;
}
