//! Events from a client to workflows, between workflows, and into the record.

use std::time::Duration;

use muster_testkit::{Program, eventually};
use serde_json::{Value, json};

use crate::platform::{Platform, read};

const LONG: Duration = Duration::from_secs(60);

/// Started by an order, tells of its payment.
const CASHIER: &str = "
document: {dsl: '1.0.3', namespace: shop, name: cashier, version: '1.0.0'}
schedule: {on: {one: {with: {type: order.placed}}}}
do:
- paid:
    emit: {event: {with: {source: 'https://example.com/cashier', type: order.paid, subject: '${ .[0].subject }', data: {total: '${ .[0].data.total }'}}}}
";

/// Waits for the payment of its order, and for a person.
const ORDER: &str = "
document: {dsl: '1.0.3', namespace: shop, name: order, version: '1.0.0'}
do:
- wait:
    fork:
      branches:
      - paid: {listen: {to: {one: {with: {type: order.paid, subject: '${ . == $input.order }'}}}}}
      - approved: {listen: {to: {one: {with: {type: approved}}}}}
- told: {set: {total: '${ .[0][0].total }', by: '${ .[1][0].by }'}}
";

async fn waits(platform: &Platform, id: &str) {
    eventually(LONG, "both branches listen", || async {
        let (_, state) = platform.get(&format!("/v1/executions/{id}")).await;
        let tasks = state["tasks"].as_array().cloned().unwrap_or_default();
        let listening = tasks.iter().filter(|task| task["kind"] == "listen").count();
        if listening == 2 && state["status"] == "waiting" { Ok(()) } else { Err(state) }
    })
    .await;
}

/// Publishes an event on the command line.
async fn publish(platform: &Platform) {
    let arguments = [
        "events",
        "publish",
        "--type",
        "order.placed",
        "--source",
        "https://example.com/shop",
        "--id",
        "e1",
        "--subject",
        "7",
        "--data",
        "{\"total\": 12}",
        "--server",
        platform.http.as_str(),
    ];
    let program = arguments.into_iter().fold(Program::of_workspace("muster"), Program::arg);
    let process = program.spawn();
    assert!(process.wait(LONG).await.success(), "{}", process.log());
    let told = process.log();
    assert!(told.contains("order.placed https://example.com/shop e1"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_from_outside_starts_a_workflow_whose_event_another_one_waits_for() {
    let platform = Platform::start().await;
    platform.put_workflow(CASHIER.to_owned()).await;
    platform.put_workflow(ORDER.to_owned()).await;
    let mut ids = Vec::new();
    for order in ["7", "8"] {
        let input = json!({ "order": order });
        ids.push(platform.start_execution("order", &input, order).await);
    }
    for id in &ids {
        waits(&platform, id).await;
    }
    let (status, body) = platform
        .post(
            &format!("/v1/executions/{}/signals", ids[0]),
            &json!({"signal": "approved", "payload": {"by": "Ada"}}),
        )
        .await;
    assert_eq!(status, 202, "{body}");

    // The command line publishes; the same event over HTTP in binary mode is a repeat.
    publish(&platform).await;
    let request = platform.client.post(platform.url("/v1/events")).json(&json!({"total": 12}));
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", "e1"),
        ("ce-source", "https://example.com/shop"),
        ("ce-type", "order.placed"),
        ("ce-subject", "7"),
    ];
    let request =
        headers.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    let (status, body) = read(request.send().await.unwrap()).await;
    assert_eq!((status.as_u16(), &body["events"][0]["duplicate"]), (202, &json!(true)));

    let state = platform.ended(&ids[0], LONG).await;
    assert_eq!(state["output"], json!({"total": 12, "by": "Ada"}), "{state}");
    let (_, other) = platform.get(&format!("/v1/executions/{}", ids[1])).await;
    assert_eq!(other["status"], "waiting");

    // What the cashier told of is in its record.
    eventually(LONG, "the event and the signal are recorded", || async {
        let (_, all) = platform.get(&format!("/v1/executions/{}/events", ids[0])).await;
        let signalled = all["events"].as_array().is_some_and(|events| {
            events.iter().any(|event| event["type"] == "muster.workflow.v1.SignalExecution")
        });
        let consumed = all.to_string().contains("event_consumed");
        if consumed && signalled { Ok(()) } else { Err(all) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_event_and_what_cannot_be_signalled_is_refused_by_name() {
    let platform = Platform::start().await;
    let refused = async |media: &str, body: &str| -> (u16, Value) {
        let request =
            platform.client.post(platform.url("/v1/events")).header("content-type", media);
        let (status, body) = read(request.body(body.to_owned()).send().await.unwrap()).await;
        (status.as_u16(), body)
    };
    let (status, body) = refused(
        "application/cloudevents+json",
        "{\"specversion\": \"1.0\", \"id\": \"1\", \"source\": \"a b\", \"type\": \"t\"}",
    )
    .await;
    assert_eq!((status, body["code"].as_str()), (400, Some("INVALID")));
    assert!(
        body["detail"].as_str().unwrap().contains("`source` is \"a b\", but it must be a URI"),
        "{body}"
    );
    assert_eq!(refused("application/json", "{}").await.0, 415);
    let (status, body) =
        platform.post("/v1/executions/nobody/signals", &json!({"signal": "x"})).await;
    assert_eq!(status, 404, "{body}");
    let (status, body) =
        platform.post("/v1/executions/nobody/signals", &json!({"signal": ""})).await;
    assert_eq!(status, 400, "{body}");
}
