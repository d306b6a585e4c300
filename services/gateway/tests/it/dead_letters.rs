//! Dead letters: listed, shown, replayed, removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use muster_bus::{Bus, Delivery, MessageId, Routes};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Code, Fault};
use muster_testkit::eventually;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::platform::{PATIENCE, Platform, problem, told};

type Mended = Arc<AtomicBool>;

async fn handle(mended: Mended, command: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
    if mended.load(Ordering::SeqCst) {
        return Ok(());
    }
    Err(Fault::new(Code::NotFound, format!("no table for {}", command.idempotency_key)))
}

/// A tool service that gives up everything until it is mended, and `count` commands for it.
async fn broken_tool(platform: &Platform, count: usize) -> (Mended, DropGuard) {
    let bus = Bus::open(platform.nats.settings("tool")).await.unwrap();
    let (mended, shutdown) = (Mended::default(), CancellationToken::new());
    let (routes, stop) = (Routes::new(mended.clone()).on(handle), shutdown.clone());
    tokio::spawn(async move { routes.serve(&bus, stop).await });
    let sender = Bus::open(platform.nats.settings("orchestration")).await.unwrap();
    for n in 0..count {
        let command = ToolExecutionRequested {
            execution_id: format!("e{n}"),
            task: "/do/0".to_owned(),
            tool: "query".to_owned(),
            arguments: None,
            idempotency_key: format!("k{n}"),
            secrets: Vec::new(),
        };
        sender.publish(&command, &MessageId::derived([&format!("m{n}")])).await.unwrap();
    }
    eventually(PATIENCE, "dead letters", || async { list(platform, "").await.len() == count })
        .await;
    (mended, shutdown.drop_guard())
}

async fn list(platform: &Platform, query: &str) -> Vec<Value> {
    let (status, body) = told(platform.get(&format!("/v1/dead-letters{query}")).await).await;
    assert_eq!(status, 200, "{body}");
    body["dead_letters"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_letter_is_shown_replayed_in_vain_and_replayed_when_its_cause_is_mended() {
    let platform = Platform::start().await;
    let (mended, _tool) = broken_tool(&platform, 1).await;
    let listed = list(&platform, "").await.remove(0);
    let path = format!("/v1/dead-letters/{}", listed["sequence"]);
    let (status, letter) = told(platform.get(&path).await).await;
    assert_eq!(status, 200);
    for (pointer, expected) in [
        ("/service", json!("tool")),
        ("/consumer", json!("tool-tool-execution-requested")),
        ("/code", json!("NOT_FOUND")),
        ("/reason", json!("no table for k0")),
        ("/deliveries", json!(1)),
        ("/message/stream", json!("EXECUTIONS")),
        ("/message/subject", json!("tool.execution.requested")),
        ("/message/type", json!("muster.tool.v1.ToolExecutionRequested")),
        ("/message/execution_id", json!("e0")),
        ("/message/id", json!(MessageId::derived(["m0"]).as_str())),
        ("/message/body/tool", json!("query")),
        ("/message/headers/Muster-Execution", json!("e0")),
    ] {
        assert_eq!(letter.pointer(pointer), Some(&expected), "{pointer}");
    }
    assert!(listed.pointer("/message/body").is_none() && listed["message"]["headers"].is_null());

    let (status, failed) = told(platform.post(&format!("{path}/replay"), json!({})).await).await;
    assert_eq!((status, &failed["outcome"]), (200, &json!("failed")));
    assert_eq!(failed["reason"], "no table for k0");
    let path = format!("/v1/dead-letters/{}", failed["sequence"]);
    let (_, letter) = told(platform.get(&path).await).await;
    assert_eq!(letter["deliveries"], 2);
    mended.store(true, Ordering::SeqCst);
    let (status, handled) = told(platform.post(&format!("{path}/replay"), json!({})).await).await;
    assert_eq!((status, handled), (200, json!({"outcome": "handled"})));
    assert!(list(&platform, "").await.is_empty());
    problem(platform.get(&path).await, 404, &["there is no dead letter"]).await;
}

#[tokio::test]
async fn letters_come_by_pages_and_go_by_filters() {
    let platform = Platform::start().await;
    let (mended, _tool) = broken_tool(&platform, 12).await;
    let (mut seen, mut query) = (Vec::new(), "?limit=5".to_owned());
    loop {
        let (_, page) = told(platform.get(&format!("/v1/dead-letters{query}")).await).await;
        let letters = page["dead_letters"].as_array().unwrap();
        seen.extend(letters.iter().map(|letter| letter["message"]["execution_id"].clone()));
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=5&cursor={next}");
    }
    assert_eq!(seen.len(), 12);
    assert_eq!(list(&platform, "?code=NOT_FOUND&type=ToolExecutionRequested").await.len(), 12);
    assert_eq!(list(&platform, "?execution_id=e3&stream=EXECUTIONS").await.len(), 1);
    assert_eq!(list(&platform, "?until=2020-01-01T00:00:00Z").await.len(), 0);

    mended.store(true, Ordering::SeqCst);
    let body = json!({"execution_id": "e3"});
    let (_, batch) = told(platform.post("/v1/dead-letters/replay", body).await).await;
    assert_eq!(batch, json!({"handled": 1, "failed": 0, "running": 0, "errors": []}));
    let body = json!({"all": true, "limit": 4, "rate": 1000});
    let (_, batch) = told(platform.post("/v1/dead-letters/replay", body).await).await;
    assert_eq!((&batch["handled"], batch["next"].is_string()), (&json!(4), true), "{batch}");
    let one = list(&platform, "").await.remove(0);
    let path = format!("/v1/dead-letters/{}", one["sequence"]);
    assert_eq!(platform.delete(&path).await.status(), 204);
    problem(platform.delete(&path).await, 404, &["there is no dead letter"]).await;
    let (_, purged) = told(platform.delete("/v1/dead-letters?code=DENIED").await).await;
    assert_eq!(purged, json!({"purged": 0}));
    let (_, purged) = told(platform.delete("/v1/dead-letters?all=true").await).await;
    assert_eq!(purged, json!({"purged": 6}));
    assert!(list(&platform, "").await.is_empty());
}

#[tokio::test]
async fn what_is_not_a_letter_or_a_choice_is_refused() {
    let platform = Platform::start().await;
    let path = "/v1/dead-letters";
    for place in ["0", "-1", "x", "1.5", "99999999999999999999"] {
        let words = [place, "a number from 1 on"];
        problem(platform.get(&format!("{path}/{place}")).await, 400, &words).await;
    }
    let missing = platform.post(&format!("{path}/7/replay"), json!({})).await;
    problem(missing, 404, &["there is no dead letter 7"]).await;
    problem(platform.delete(path).await, 400, &["no letters are named", "`all`"]).await;
    let replay = format!("{path}/replay");
    problem(platform.post(&replay, json!({})).await, 400, &["no letters are named"]).await;
    let both = json!({"all": true, "code": "INVALID"});
    problem(platform.post(&replay, both).await, 400, &["leave one of them out"]).await;
    let fast = json!({"all": true, "rate": 0});
    problem(platform.post(&replay, fast).await, 400, &["`rate` is 0", "1 to 1000"]).await;
    let unknown = json!({"all": true, "sender": "x"});
    problem(platform.post(&replay, unknown).await, 400, &["sender"]).await;
    let words = json!({"all": true, "rate": "fast"});
    problem(platform.post(&replay, words).await, 400, &["rate", "\"fast\"", "1 to 1000"]).await;
    // What a route has no use for would not do what who says it means.
    for query in ["all=true&rate=5", "all=true&limit=5", "code=INVALID&cursor=1-5"] {
        let refused = platform.delete(&format!("{path}?{query}")).await;
        problem(refused, 400, &["unknown query parameter", "`all`"]).await;
    }
    for (query, words) in [
        ("limit=0", ["`limit` is 0", "from 1 to 1000"]),
        ("limit=x", ["`limit` is \"x\"", "a number from 1 to 1000"]),
        ("limit=-1", ["`limit` is \"-1\"", "a number from 1 to 1000"]),
        ("rate=5", ["unknown query parameter `rate`", "`limit`"]),
        ("all=true", ["unknown query parameter `all`", "`cursor`"]),
        ("cursor=5", ["\"5\"", "such as 101-250"]),
        ("since=yesterday", ["`since` is \"yesterday\"", "a time such as 2026-01-31T12:00:00Z"]),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", ["2026-01-02", "before until"]),
        ("stream=*", ["no stream \"*\"", "EXECUTIONS"]),
        ("code=WRONG", ["no code \"WRONG\"", "MAX_DELIVERIES"]),
        ("type=Nothing", ["no message type \"Nothing\"", "StartExecution"]),
        ("colour=red", ["`colour`", "`execution_id`"]),
    ] {
        problem(platform.get(&format!("{path}?{query}")).await, 400, &words).await;
    }
}
