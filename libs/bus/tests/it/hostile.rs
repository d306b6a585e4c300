//! Bytes and headers that no bus writes: each request is answered, each message is handled or becomes a dead letter, and the service goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, jetstream};
use muster_bus::{Bucket, Delivery, Routes, Unanswered};
use muster_contracts::tool::v1::{
    CallToolRequest, ExecuteToolRequest, ListToolsRequest, ToolExecutionRequested, ToolList,
    ToolResult,
};
use muster_contracts::{Addressed, Code, Fault};
use muster_testkit::{NatsServer, eventually};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{command, connect, id, operator, serve};

const PATIENCE: Duration = Duration::from_secs(60);
const COUNT: usize = 400;

/// Headers that the bus reads.
const NAMES: [&str; 10] = [
    "traceparent",
    "Content-Encoding",
    "Accept-Encoding",
    "Muster-Claim",
    "Muster-Claim-Size",
    "Muster-Claim-Sha256",
    "Muster-Sealed",
    "Muster-Schema",
    "Muster-Execution",
    "Nats-Service-Error-Code",
];

fn header() -> impl Strategy<Value = (&'static str, String)> {
    let value = prop_oneof![
        Just("zstd".to_owned()),
        Just("v1".to_owned()),
        Just("-1".to_owned()),
        Just("18446744073709551616".to_owned()),
        Just("x".repeat(10_000)),
        Just("a.*.>".to_owned()),
        "[ -~]{0,40}",
        "\\PC{0,20}",
    ];
    (prop::sample::select(NAMES.as_slice()), value)
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let nested = (1_usize..100_000).prop_map(|depth| {
        format!("{{\"arguments\":{}{}}}", "{\"a\":".repeat(depth), "}".repeat(depth)).into_bytes()
    });
    let good = serde_json::to_vec(&command("good")).unwrap();
    let half = (0..good.len()).prop_map({
        let good = good.clone();
        move |end| good.split_at(end).0.to_vec()
    });
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..300),
        2 => half,
        2 => "[{}\\[\\]\":,a-z0-9 ]{0,60}".prop_map(String::into_bytes),
        1 => nested,
        3 => Just(good),
    ]
}

/// The same messages in every run.
fn messages() -> Vec<(HeaderMap, Vec<u8>)> {
    let mut runner = TestRunner::deterministic();
    let strategy = (prop::collection::vec(header(), 0..3), body());
    let make = |number| {
        let (headers, body) = strategy.new_tree(&mut runner).unwrap().current();
        let mut map = HeaderMap::new();
        map.insert("ce-id", format!("> {number} *"));
        for (name, value) in headers {
            map.insert(name, value);
        }
        (map, body)
    };
    (0..COUNT).map(make).collect()
}

#[tokio::test]
async fn every_message_is_handled_or_becomes_a_dead_letter() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let handled = Arc::new(AtomicUsize::new(0));
    let count = async |handled: Arc<AtomicUsize>, _message: Delivery<ToolExecutionRequested>| {
        handled.fetch_add(1, Ordering::SeqCst);
        Ok::<_, Fault>(())
    };
    let (_guard, _serving) = serve(&bus, Routes::new(handled.clone()).on(count));
    let stream = jetstream::new(operator(&nats).await);
    for (headers, body) in messages() {
        let published =
            stream.publish_with_headers(ToolExecutionRequested::SUBJECT, headers, body.into());
        published.await.unwrap().await.unwrap();
    }
    let reader = connect(&nats, "test").await;
    eventually(PATIENCE, "each has its end", || async {
        let letters = reader.dead_letters().list(COUNT + 1).await.unwrap();
        let handled = handled.load(Ordering::SeqCst);
        if letters.len() + handled == COUNT {
            Ok(())
        } else {
            Err(format!("{handled} handled, {} dead letters", letters.len()))
        }
    })
    .await;
    for (_, letter) in reader.dead_letters().list(COUNT).await.unwrap() {
        assert!(!letter.reason.is_empty(), "{letter:?}");
        assert!(matches!(letter.code.as_str(), "INVALID" | "NOT_FOUND"), "{letter:?}");
    }
    let before = handled.load(Ordering::SeqCst);
    reader.publish(&command("after"), &id("after")).await.unwrap();
    eventually(PATIENCE, "a good one is handled", || {
        std::future::ready(handled.load(Ordering::SeqCst) == before + 1)
    })
    .await;
}

#[tokio::test]
async fn a_bucket_takes_nothing_that_it_could_not_give_back() {
    let nats = NatsServer::start().await;
    let kv = connect(&nats, "orchestration").await.kv::<serde_json::Value>(Bucket::Registry);
    let nested =
        |depth| (0..depth).fold(serde_json::json!(1), |inner, _| serde_json::json!([inner]));
    kv.put("deep", &nested(127)).await.unwrap();
    let fault = kv.put("deep", &nested(128)).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.starts_with("REGISTRY/deep is nested deeper than 127 levels"), "{fault}");
    assert_eq!(kv.get("deep").await.unwrap().unwrap().value, nested(127));
}

#[tokio::test]
async fn every_request_is_answered() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let list = async |(): (), _request: ListToolsRequest| Ok::<_, Fault>(ToolList::default());
    let run = async |(): (), _request: ExecuteToolRequest| Ok::<_, Fault>(ToolResult::default());
    let (_guard, _serving) = serve(&bus, Routes::new(()).rpc(list).rpc(run));
    let client = operator(&nats).await;
    let asker = connect(&nats, "agent").await;
    let all = ListToolsRequest::default();
    eventually(PATIENCE, "it serves", || asker.request(&all)).await;
    for (headers, body) in messages() {
        for subject in [ListToolsRequest::SUBJECT, ExecuteToolRequest::SUBJECT] {
            let request = async_nats::Request::new();
            let request = request.headers(headers.clone()).payload(body.clone().into());
            client.send_request(subject, request).await.unwrap();
        }
    }
    asker.request(&all).await.unwrap();
}

#[tokio::test]
async fn a_server_that_answers_nonsense_is_told_from_one_that_does_not_answer() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "tool").await;
    let call = CallToolRequest { name: "odd".into(), ..Default::default() };
    let short = Duration::from_millis(300);
    let unserved = bus.ask(&call, PATIENCE).await.unwrap_err();
    assert!(!unserved.sent && unserved.fault.code == Code::Unavailable, "{unserved}");

    let client = operator(&nats).await;
    let mut calls = client.queue_subscribe("tools.odd", "workers".to_owned()).await.unwrap();
    // A round trip, which a flush is not: now the server knows the subscription.
    client.request("$JS.API.INFO", "".into()).await.unwrap();
    let answers = messages();
    let expected = answers.len();
    let (sent, mut odd) = (answers.clone(), 0);
    let worker = tokio::spawn(async move {
        for (headers, body) in sent {
            let call = futures::StreamExt::next(&mut calls).await.unwrap();
            client.publish_with_headers(call.reply.unwrap(), headers, body.into()).await.unwrap();
        }
        calls
    });
    for _ in 0..expected {
        match bus.ask(&call, PATIENCE).await {
            Ok(Ok(_result)) => {}
            Ok(Err(fault)) => {
                assert!(!fault.message.is_empty(), "{fault:?}");
                odd += 1;
            }
            Err(Unanswered { fault, sent }) => {
                assert!(sent, "{fault}");
                odd += u32::from(fault.code == Code::Internal) as usize;
            }
        }
    }
    assert!(odd > expected / 4, "{odd} of {expected} were faults");
    let _silent = worker.await.unwrap();
    let late = bus.ask(&call, short).await.unwrap_err();
    assert!(late.sent && late.fault.code == Code::Deadline, "{late}");
}
