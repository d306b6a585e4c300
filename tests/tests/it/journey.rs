//! The main job, as a client sees it.

use std::time::Duration;

use futures::StreamExt;
use muster_testkit::eventually;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Platform, example, read};

const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Events of an SSE stream: id, name, data.
type Event = (String, String, Value);

/// Reads events until `enough` says so or the stream ends.
async fn events(
    platform: &Platform,
    id: &str,
    last: Option<&str>,
    enough: impl Fn(&[Event]) -> bool,
) -> Vec<Event> {
    let mut request = platform
        .client
        .get(platform.url(&format!("/v1/executions/{id}/events")))
        .header("Accept", "text/event-stream");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let mut bytes = Box::pin(response.bytes_stream());
    let (mut text, mut found) = (Vec::<u8>::new(), Vec::new());
    while let Ok(Some(chunk)) = tokio::time::timeout(ENDS_WITHIN, bytes.next()).await {
        text.extend_from_slice(&chunk.unwrap());
        // Only what is whole is text: a chunk may end in the middle of a letter.
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let rest = text.split_off(end + 2);
            let block = String::from_utf8(std::mem::replace(&mut text, rest)).unwrap();
            let field = |name: &str| {
                block
                    .lines()
                    .find_map(|line| line.strip_prefix(&format!("{name}:")))
                    .map(|value| value.trim().to_owned())
            };
            if let Some(data) = field("data") {
                found.push((
                    field("id").unwrap_or_default(),
                    field("event").unwrap_or_default(),
                    serde_json::from_str(&data).unwrap(),
                ));
            }
        }
        if enough(&found) {
            break;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs_from_files_to_a_brief() {
    let platform = Platform::start().await;
    let workflow = platform.load(&example()).await;
    platform
        .ingest("handbook", &std::fs::read_to_string(example().join("document.md")).unwrap())
        .await;
    let input = json!({ "collection": "handbook", "question": "What matters most, and why?" });
    let id = platform.start_execution(&workflow, &input, "one").await;

    let live =
        events(&platform, &id, None, |found| found.iter().any(|(_, name, _)| name == "done")).await;
    let names: Vec<&str> = live.iter().map(|(_, name, _)| name.as_str()).collect();
    assert!(names.contains(&"step") && names.contains(&"token"), "{names:?}");
    assert_eq!(names.last(), Some(&"done"));

    let state = platform.ended(&id, ENDS_WITHIN).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    let brief = state["output"]["brief"]["deliverable"].as_str().unwrap_or_default();
    let (status, deliverable) = platform.get(&format!("/v1/{brief}")).await;
    assert_eq!(status, StatusCode::OK, "{brief}: {deliverable}");
    assert!(deliverable["content"].as_str().unwrap().len() > 500, "{deliverable}");

    // The log follows what happens; it may come a moment later.
    eventually(ENDS_WITHIN, "the usage of every run is recorded", || async {
        let (status, usage) = platform.get(&format!("/v1/executions/{id}/usage")).await;
        let total = |name: &str| usage["total"][name].as_f64().unwrap_or_default();
        let saved = total("saved_tokens") >= 0.95 * total("pasted_tokens");
        if status == StatusCode::OK && saved && total("pasted_tokens") > 0.0 {
            return Ok(());
        }
        Err(format!("{status}: {usage:#}"))
    })
    .await;

    // Somebody who lost the connection in the middle gets the rest, without a gap and without a repeat.
    let half = &live[live.len() / 2];
    let rest = events(&platform, &id, Some(&half.0), |found| {
        found.iter().any(|(_, name, _)| name == "done")
    })
    .await;
    let steps = |events: &[Event]| {
        events
            .iter()
            .filter(|(_, name, _)| name == "step")
            .map(|(_, _, data)| data.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(steps(&rest), steps(&live[live.len() / 2 + 1..]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_gets_a_clear_error_and_the_platform_stays_up() {
    let platform = Platform::start().await;
    let problem = |status: StatusCode, body: &Value, expected: StatusCode, words: &[&str]| {
        assert_eq!(status, expected, "{body}");
        let text = body.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{words:?} are not in {text}");
        assert!(
            body["title"].is_string() && body["status"].is_number(),
            "{body} is no problem of RFC 9457"
        );
    };
    let workflow = |tasks: &str| {
        format!(
            "document: {{dsl: '1.0.3', namespace: t, name: bad, version: '1.0.0'}}\ndo:\n{tasks}"
        )
    };

    let (status, body) = platform.put_yaml("/v1/workflows", "document: [unclosed".into()).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["line"]);
    let (status, body) = platform
        .put_yaml("/v1/workflows", workflow("- a: {call: agent, with: {agent: nobody, input: x}}"))
        .await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["nobody", "/do/0/a"]);
    let (status, body) = platform.put_yaml("/v1/workflows", workflow("- a: {dance: {}}")).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["dance", "/do/0/a"]);
    let (status, body) =
        platform.put_yaml("/v1/workflows", "document: {dsl: '1.0.3'}\ndo: []".into()).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["name"]);
    let (status, body) = platform.post("/v1/executions", &json!({ "workflow": "nowhere" })).await;
    problem(status, &body, StatusCode::NOT_FOUND, &["nowhere"]);
    let (status, body) = platform.post("/v1/executions", &json!({ "workflow": 7 })).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["workflow"]);
    let (status, body) =
        platform.post("/v1/executions", &json!({ "workflow": "w", "inptu": 1 })).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["inptu"]);
    let (status, body) = platform.post("/v1/collections/c/documents", &json!({ "text": "" })).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["text"]);
    let request = platform
        .client
        .post(platform.url("/v1/executions"))
        .header("content-type", "application/json")
        .body("{\"workflow\": ");
    let (status, body) = read(request.send().await.unwrap()).await;
    problem(status, &body, StatusCode::BAD_REQUEST, &["line"]);
    let request = platform
        .client
        .post(platform.url("/v1/collections/c/documents"))
        .header("content-type", "text/plain")
        .body(vec![b'x'; 50 << 20]);
    if let Ok(response) = request.send().await {
        let (status, body) = read(response).await;
        problem(status, &body, StatusCode::PAYLOAD_TOO_LARGE, &["8"]);
    }
    let (status, body) = platform.get("/v1/executions/nowhere").await;
    problem(status, &body, StatusCode::NOT_FOUND, &["nowhere"]);
    let (status, body) = platform.get("/v1/nowhere").await;
    problem(status, &body, StatusCode::NOT_FOUND, &["/v1/nowhere"]);

    let name =
        platform.put_workflow(workflow("- a: {set: {ok: true}}").replace("bad", "good")).await;
    let id = platform.start_execution(&name, &Value::Null, "after").await;
    assert_eq!(platform.ended(&id, ENDS_WITHIN).await["output"], json!({ "ok": true }));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_recovers_by_itself_when_nats_was_away() {
    let platform = Platform::start().await;
    let tasks = "document: {dsl: '1.0.3', namespace: t, name: nap, version: '1.0.0'}\ndo:\n- nap: {wait: {seconds: 1}}\n- done: {set: {ok: true}}";
    let name = platform.put_workflow(tasks.to_owned()).await;
    let before = platform.start_execution(&name, &Value::Null, "before").await;
    platform.nats.kill();
    eventually(Duration::from_secs(60), "the gateway says that it is not ready", || async {
        platform.get("/readyz").await.0 == StatusCode::SERVICE_UNAVAILABLE
    })
    .await;
    let (status, body) = platform.post("/v1/executions", &json!({ "workflow": name })).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    platform.nats.restart().await;
    platform.until_ready().await;
    assert_eq!(platform.ended(&before, ENDS_WITHIN).await["output"], json!({ "ok": true }));
    let after = platform.start_execution(&name, &Value::Null, "after").await;
    assert_eq!(platform.ended(&after, ENDS_WITHIN).await["output"], json!({ "ok": true }));
}
