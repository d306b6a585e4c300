//! The contract as others see it: its catalogue, its streams, its JSON.

mod breaking;
mod hostile;
mod taxonomy;

use muster_contracts::agent::v1::{AgentDefinition, AgentExecutionRequested, PutAgentRequest};
use muster_contracts::subject::{overlaps, pattern};
use muster_contracts::tool::v1::CallToolRequest;
use muster_contracts::workflow::v1::{StartExecution, TimerFired};
use muster_contracts::{Addressed, CATALOGUE, Json, Kind, Message, Stream, Timer};
use serde_json::json;

#[test]
fn the_catalogue_is_what_the_last_review_saw() {
    let lines: Vec<String> = CATALOGUE
        .iter()
        .map(|entry| {
            let reply = entry.reply.map(|reply| format!(" -> {reply}")).unwrap_or_default();
            let stream = entry.stream.map_or("-", Stream::name);
            let planned = if entry.planned { " (planned)" } else { "" };
            let reads = if entry.reads { " (reads)" } else { "" };
            format!(
                "{:<40} {:<8} {:<11} v{} {}{reply} | {} => {}{reads}{planned}",
                entry.subject,
                format!("{:?}", entry.kind),
                stream,
                entry.version,
                entry.message,
                entry.producers.join(","),
                entry.consumers.join(",")
            )
        })
        .collect();
    insta::assert_snapshot!("catalogue", lines.join("\n"));
}

#[test]
fn the_streams_are_what_the_last_review_saw() {
    let lines: Vec<String> = Stream::ALL
        .iter()
        .map(|stream| {
            format!(
                "{}\n  {:?}\n  {}",
                stream.name(),
                stream.settings(),
                stream.subjects().join("\n  ")
            )
        })
        .collect();
    insta::assert_snapshot!("streams", lines.join("\n"));
}

#[test]
fn no_subject_is_in_two_streams() {
    for a in Stream::ALL {
        for b in Stream::ALL.iter().filter(|b| *b != a) {
            for (left, right) in a
                .subjects()
                .iter()
                .flat_map(|left| b.subjects().into_iter().map(move |right| (left.clone(), right)))
            {
                assert!(
                    !overlaps(&left, &right),
                    "{left} of {} overlaps {right} of {}",
                    a.name(),
                    b.name()
                );
            }
        }
    }
}

#[test]
fn no_stream_steals_the_reply_of_a_request() {
    for request in CATALOGUE.iter().filter(|entry| entry.kind == Kind::Request) {
        for stream in Stream::ALL.iter().filter(|stream| !stream.settings().no_ack) {
            for subject in stream.subjects() {
                assert!(
                    !overlaps(&subject, &pattern(request.subject)),
                    "{} would be acknowledged by {}",
                    request.subject,
                    stream.name()
                );
            }
        }
    }
}

#[test]
fn integers_are_exact_and_unknown_fields_ignored() {
    let body = json!({"execution_id": "e1", "workflow": "w", "digest": "d", "input": {"n": i64::MAX, "x": 3}, "from_the_future": true});
    let start: StartExecution = serde_json::from_value(body).unwrap();
    assert_eq!(start.input, Some(Json(json!({"n": i64::MAX, "x": 3}))));
    assert_eq!(serde_json::to_value(&start).unwrap()["input"]["n"], json!(i64::MAX));
}

#[test]
fn names_on_the_wire_are_snake_case() {
    let request = AgentExecutionRequested {
        execution_id: "e".into(),
        task: "t".into(),
        agent: "a".into(),
        input: Some(Json(json!("hi"))),
        ..Default::default()
    };
    assert_eq!(
        serde_json::to_value(&request).unwrap(),
        json!({"execution_id": "e", "task": "t", "agent": "a", "input": "hi"})
    );
}

#[test]
fn the_first_missing_field_is_named_with_its_path() {
    assert_eq!(StartExecution::default().missing().as_deref(), Some("execution_id"));
    let request = PutAgentRequest {
        definition: Some(AgentDefinition { name: "a".into(), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(request.missing().as_deref(), Some("definition.instructions"));
}

#[test]
fn subjects_are_made_of_fields_and_back() {
    let timer =
        TimerFired { execution_id: "e1".into(), timer_id: "t1".into(), ..Default::default() };
    assert_eq!(timer.subject().unwrap(), "timer.fired.e1");
    assert_eq!(timer.schedule().unwrap(), "timer.e1.t1");
    assert!(TimerFired { execution_id: "a.b".into(), ..Default::default() }.subject().is_err());
    let mut call = CallToolRequest::default();
    call.take_from_subject("tools.echo");
    assert_eq!(call.name, "echo");
}
