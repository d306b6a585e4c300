use std::collections::BTreeSet;

use futures::StreamExt as _;
use muster_bus::{After, MessageId};
use muster_contracts::log::v1::LogCreated;
use muster_contracts::tool::v1::ToolExecutionCompleted;
use muster_contracts::vector::v1::SearchCompleted;
use muster_contracts::workflow::v1::{ExecutionStarted, JournalEntry, TimerFired};
use muster_contracts::{Addressed as _, Code, Json, Stream};
use muster_testkit::{Database, FaultProxy, eventually};
use serde_json::json;

use crate::{DEADLINE, Platform};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_recorded_in_their_order_with_what_they_say() {
    let platform = Platform::start().await;
    platform.started("e1", "started").await;
    let journal = JournalEntry {
        execution_id: "e1".into(),
        input_id: "started".into(),
        facts: vec![Json(json!({"type": "task_started", "task": "/do/0"}))],
        ..JournalEntry::default()
    };
    let writer = platform.bus.journal(&journal).unwrap();
    writer.append(&journal, 0, &MessageId::derived(["e1", "1"])).await.unwrap();
    let tool = ToolExecutionCompleted {
        execution_id: "e1".into(),
        task: "/do/1".into(),
        tool: "compute".into(),
        result: Some(Json(json!({"exact": 9_007_199_254_740_993_i64, "nul": "a\u{0}b"}))),
        ..ToolExecutionCompleted::default()
    };
    platform.bus.publish(&tool, &MessageId::derived(["e1", "2"])).await.unwrap();
    platform.started("e2", "other").await;

    let timeline = platform.timeline("e1", 3).await;
    let seen: Vec<_> =
        timeline.iter().map(|entry| (entry.subject.as_str(), entry.task.as_str())).collect();
    assert_eq!(
        seen,
        [
            ("workflow.execution.started", ""),
            ("journal.e1", "/do/0"),
            ("tool.execution.completed", "/do/1"),
        ]
    );
    assert!(timeline.is_sorted_by(|a, b| a.sequence < b.sequence));
    let last = timeline.last().unwrap();
    assert_eq!(last.r#type, "muster.tool.v1.ToolExecutionCompleted");
    assert_eq!(last.source, "/muster/orchestration");
    assert_eq!(last.execution_id, "e1");
    assert_eq!(last.log_id, MessageId::derived(["e1", "2"]).as_str());
    let result = last.body.as_ref().unwrap().get("result").unwrap();
    assert_eq!(result, &json!({"exact": 9_007_199_254_740_993_i64, "nul": "a\u{0}b"}));
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_twice_is_recorded_once() {
    let mut platform = Platform::start().await;
    for n in 0..20 {
        platform.started("e1", &format!("event-{n}")).await;
    }
    let before = platform.timeline("e1", 20).await;
    // Published a second time after the broker's own window of duplicates: here, without the header that it looks at.
    let id = MessageId::derived(["event-3"]);
    let headers = format!("NATS/1.0\r\nce-id: {}\r\nMuster-Execution: e1\r\n\r\n", id.as_str());
    let sizes = format!("{} {}", headers.len(), headers.len() + 2);
    platform.raw(&format!("HPUB workflow.execution.started {sizes}\r\n{headers}{{}}\r\n")).await;
    // As behind a lost end of the stream: everything is read again.
    platform.service.take().unwrap().crash();
    platform.sql("UPDATE places SET sequence = 0, before = 0").await;
    let url = platform.database.url().to_owned();
    platform.run(&url).await;
    platform.started("e1", "last").await;

    let after = platform.timeline("e1", 21).await;
    assert_eq!(after.get(..20).unwrap(), before);
    assert_eq!(after.last().unwrap().log_id, MessageId::derived(["last"]).as_str());
    assert_eq!(platform.usage("e1").await.unwrap().events, 21);
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_lose_no_event_and_double_none() {
    let mut platform = Platform::start().await;
    let url = platform.database.url().to_owned();
    for round in 0..3 {
        for n in 0..100 {
            platform.started("e1", &format!("event-{round}-{n}")).await;
        }
        platform.service.take().unwrap().crash();
        platform.run(&url).await;
    }
    let timeline = platform.timeline("e1", 300).await;
    let ids: BTreeSet<_> = timeline.iter().map(|entry| &entry.log_id).collect();
    assert_eq!((timeline.len(), ids.len()), (300, 300));
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_no_index_takes_is_recorded_all_the_same_and_holds_up_no_other() {
    let platform = Platform::start().await;
    // Random enough not to become short enough for an index by compression.
    let parts = (0..200).map(|n| MessageId::derived([&n.to_string()]).as_str().to_owned());
    let long: String = parts.collect();
    let tool = ToolExecutionCompleted {
        execution_id: long.clone(),
        task: "t".into(),
        tool: "echo".into(),
        ..ToolExecutionCompleted::default()
    };
    platform.bus.publish(&tool, &MessageId::derived(["long id"])).await.unwrap();
    // The name of its workflow is in an index, too, as it stands in the body.
    let started = ExecutionStarted {
        execution_id: "e1".into(),
        workflow: long.clone(),
        status: "running".into(),
        ..ExecutionStarted::default()
    };
    platform.bus.publish(&started, &MessageId::derived(["long name"])).await.unwrap();
    // A text that cannot be looked into, in the place of a body; and an id that is made of what is no id.
    let body = r#""a\u0000b""#;
    let headers =
        "NATS/1.0\r\nce-type: muster.workflow.v1.ExecutionStarted\r\nMuster-Execution: e3\r\n\r\n";
    let sizes = format!("{} {}", headers.len(), headers.len() + body.len());
    platform.raw(&format!("HPUB workflow.execution.started {sizes}\r\n{headers}{body}\r\n")).await;
    let shorter = long.get(..3500).unwrap();
    platform.raw(&format!("PUB journal.{shorter} 2\r\n{{}}\r\n")).await;
    for n in 0..20 {
        platform.started("e2", &format!("event-{n}")).await;
    }
    assert_eq!(platform.timeline("e2", 20).await.len(), 20);
    assert_eq!(platform.timeline(&long, 1).await.len(), 1);
    assert_eq!(platform.timeline("e3", 1).await.len(), 1);
    let found = platform.timeline("e1", 1).await;
    let body = found.first().unwrap().body.as_ref().unwrap();
    assert!(body.as_str().is_some_and(|text| text.contains(&long)), "as a text: {body:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_breaks_connections_is_recorded_by_its_place() {
    let platform = Platform::start().await;
    let (headers, body) = ("NATS/1.0\r\nthis is no header\r\n\r\n", r#"{"execution_id": "e1"}"#);
    let sizes = format!("{} {}", headers.len(), headers.len() + body.len());
    platform.raw(&format!("HPUB workflow.execution.started {sizes}\r\n{headers}{body}\r\n")).await;
    platform.started("e2", "behind it").await;
    assert_eq!(platform.timeline("e2", 1).await.len(), 1);
    let found = platform.timeline("e1", 1).await;
    let body = found.first().unwrap().body.as_ref().unwrap();
    assert!(body.get("unreadable").is_some(), "{body:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_recorded_is_told() {
    let platform = Platform::start().await;
    platform.started("e1", "started").await;
    let search =
        SearchCompleted { query_id: "q".into(), collection: "c".into(), ..Default::default() };
    platform.bus.publish(&search, &MessageId::derived(["search"])).await.unwrap();
    let mut events = Box::pin(platform.bus.follow(
        Stream::Executions,
        vec![LogCreated::SUBJECT.to_owned()],
        After(0),
    ));
    // Together or one after the other, as they come.
    let (mut last, mut executions) = (String::new(), BTreeSet::new());
    while last != MessageId::derived(["search"]).as_str() {
        let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
        let created: LogCreated = event.decode().unwrap();
        last = created.log_id;
        executions.insert(created.execution_id);
        executions.extend(created.others);
    }
    assert_eq!(executions.into_iter().collect::<Vec<_>>(), ["", "e1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_fired_is_in_the_timeline() {
    let platform = Platform::start().await;
    let timer = TimerFired {
        execution_id: "e1".into(),
        timer_id: "t1".into(),
        timer: "/do/0".into(),
        ..TimerFired::default()
    };
    let id = MessageId::derived(["timer"]);
    platform.bus.schedule(&timer, chrono::Utc::now(), &id).await.unwrap();
    let timeline = platform.timeline("e1", 1).await;
    assert_eq!(timeline.first().unwrap().subject, "timer.fired.e1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let platform = Platform::start().await;
    for n in 0..25 {
        platform.started("e1", &format!("event-{n}")).await;
    }
    let all = platform.timeline("e1", 25).await;
    let (mut after, mut paged, mut pages) = (0, Vec::new(), 0);
    loop {
        let page = platform.page("e1", after, 10).await.unwrap();
        pages += 1;
        paged.extend(page.entries);
        after = page.next_after;
        if after == 0 {
            break;
        }
    }
    assert_eq!((pages, &paged), (3, &all));
    assert!(
        platform.page("e1", all.last().unwrap().sequence, 10).await.unwrap().entries.is_empty()
    );

    let fault = platform.page("nobody", 0, 10).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("\"nobody\""), "{fault}");
    let fault = platform.page("e1", 0, 1001).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("1001"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_large_bodies_still_fits_a_message() {
    let platform = Platform::start().await;
    for n in 0..6 {
        let tool = ToolExecutionCompleted {
            execution_id: "e1".into(),
            task: "/do/1".into(),
            tool: "read".into(),
            result: Some(Json(json!("x".repeat(if n == 2 { 5_000_000 } else { 1_500_000 })))),
            ..ToolExecutionCompleted::default()
        };
        platform.bus.publish(&tool, &MessageId::derived([n.to_string()])).await.unwrap();
    }
    eventually(DEADLINE, "all are recorded", || async {
        platform.usage("e1").await.is_ok_and(|usage| usage.events == 6)
    })
    .await;
    let (mut after, mut sizes) = (0, Vec::new());
    loop {
        let page = platform.page("e1", after, 0).await.unwrap();
        sizes.push(page.entries.len());
        after = page.next_after;
        if after == 0 {
            break;
        }
    }
    assert_eq!(sizes, [2, 1, 2, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_wait_while_postgres_is_away_and_the_timeline_outlives_the_service() {
    let database = Database::create().await;
    let proxy = FaultProxy::start(database.url()).await;
    let url = proxy.url(database.url());
    let mut platform = Platform::start_on(database, &url).await;
    platform.started("e1", "before").await;
    platform.timeline("e1", 1).await;

    proxy.cut();
    platform.started("e1", "during").await;
    let fault = platform.usage("e1").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    proxy.heal();
    platform.timeline("e1", 2).await;

    platform.service.take().unwrap().crash();
    platform.started("e1", "between").await;
    platform.run(&url).await;
    assert_eq!(platform.timeline("e1", 3).await.len(), 3);
    platform.assert_no_dead_letter().await;
}
