//! Events and signals from clients.

use muster_contracts::workflow::v1::{CloudEvent, ExecutionState};
use reqwest::Method;
use serde_json::{Value, json};

use crate::platform::{Platform, problem, told};

const STRUCTURED: &str = "application/cloudevents+json";

async fn post(platform: &Platform, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
    let request = platform.request(Method::POST, "/v1/events").body(body.to_owned());
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    told(request.send().await.unwrap()).await
}

#[tokio::test]
async fn events_come_structured_in_batches_and_binary_and_are_stored_once() {
    let platform = Platform::start().await;
    let one = json!({"specversion": "1.0", "id": "1", "source": "/tests", "type": "t", "roomid": 7, "data": [null]});
    let stored = |id: &str, duplicate: bool| json!({"events": [{"id": id, "source": "/tests", "type": "t", "duplicate": duplicate}]});
    let structured = [("content-type", STRUCTURED)];
    assert_eq!(post(&platform, &structured, &one.to_string()).await, (202, stored("1", false)));
    assert_eq!(post(&platform, &structured, &one.to_string()).await, (202, stored("1", true)));
    let two = json!([one, {"specversion": "1.0", "id": "2", "source": "/tests", "type": "t"}]);
    let batch = [("content-type", "application/cloudevents-batch+json")];
    let (status, body) = post(&platform, &batch, &two.to_string()).await;
    assert_eq!(
        (status, &body["events"][0]["duplicate"], &body["events"][1]["duplicate"]),
        (202, &json!(true), &json!(false))
    );
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "3"),
        ("ce-source", "/tests"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(post(&platform, &binary, "hello").await, (202, stored("3", false)));

    let (mut after, mut ids) = (0, Vec::new());
    while let Some((place, event)) = platform.bus.next_event::<CloudEvent>(after).await.unwrap() {
        ids.push(event.id.clone());
        after = place;
        if event.id == "3" {
            assert_eq!(event.data.unwrap().0, json!("hello"));
        }
    }
    assert_eq!(ids, ["1", "2", "3"]);
}

#[tokio::test]
async fn a_batch_with_one_that_is_no_event_stores_none() {
    let platform = Platform::start().await;
    let body =
        json!([{"specversion": "1.0", "id": "1", "source": "/tests", "type": "t"}, {"id": "2"}]);
    let request = platform.request(Method::POST, "/v1/events").body(body.to_string());
    let request = request.header("content-type", "application/cloudevents-batch+json");
    problem(request.send().await.unwrap(), 400, &["event 1: `specversion` is missing"]).await;
    assert!(platform.bus.next_event::<CloudEvent>(0).await.unwrap().is_none());
    let request = platform.request(Method::POST, "/v1/events").json(&body);
    problem(request.send().await.unwrap(), 415, &["application/json", STRUCTURED]).await;
}

#[tokio::test]
async fn a_signal_needs_an_execution_that_can_hear_it() {
    let platform = Platform::start().await;
    let state = |id: &str, status: &str| ExecutionState {
        execution_id: id.into(),
        status: status.into(),
        ..Default::default()
    };
    platform.peers.set(state("e1", "waiting"));
    platform.peers.set(state("e2", "completed"));
    let signal = async |id: &str, body: Value| {
        let request = platform.request(Method::POST, &format!("/v1/executions/{id}/signals"));
        request.header("Idempotency-Key", "k").json(&body).send().await.unwrap()
    };
    let good = json!({"signal": "approved", "payload": {"by": "Ada"}});
    let (status, first) = told(signal("e1", good.clone()).await).await;
    assert_eq!(
        (status, &first["signal"], &first["execution_id"]),
        (202, &json!("approved"), &json!("e1"))
    );
    assert_eq!(told(signal("e1", good.clone()).await).await.1["id"], first["id"]);
    problem(signal("e2", good.clone()).await, 409, &["\"e2\" is completed"]).await;
    problem(signal("e3", good).await, 404, &["e3"]).await;
    problem(signal("e1", json!({"signal": ""})).await, 400, &["`signal` is \"\""]).await;
    problem(signal("e1", json!({"name": "x"})).await, 400, &["unknown field `name`"]).await;
}
