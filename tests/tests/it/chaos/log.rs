//! What the log of an execution must say after all.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::platform::{Nats, Platform};

/// The log has the start and the end once, each command with one end, and no event twice. Returns what its runs paid for replies of models,
/// in billionths of a dollar.
pub(super) async fn log_is_complete(platform: &Platform<impl Nats>, id: &str, seed: u64) -> u64 {
    let events =
        muster_testkit::eventually(Duration::from_secs(60), "the log has the end", || async {
            let (status, timeline) =
                platform.get(&format!("/v1/executions/{id}/events?limit=1000")).await;
            let entries = timeline["events"].as_array().cloned().unwrap_or_default();
            // Events are recorded side by side: what led to the end may come behind it.
            let count = |wanted: &str| entries.iter().filter(|entry| kind(entry) == wanted).count();
            let all = ["StartExecution", "ExecutionStarted", "ExecutionCompleted"]
                .iter()
                .all(|wanted| count(wanted) > 0)
                && count("AgentExecutionRequested") == count("AgentExecutionCompleted")
                && count("JournalEntry") >= 2;
            if status.is_success() && all {
                Ok(entries)
            } else {
                let kinds: Vec<_> = entries.iter().map(kind).collect();
                Err(format!("{status} {id}: {kinds:?}"))
            }
        })
        .await;
    let mut counts = BTreeMap::<(String, String), u32>::new();
    let mut seen = BTreeSet::new();
    for entry in &events {
        assert!(
            seen.insert(entry["log_id"].as_str().unwrap().to_owned()),
            "seed {seed}: {entry} is twice in the log of {id}"
        );
        let task = entry["body"]["task"].as_str().unwrap_or_default().to_owned();
        *counts.entry((kind(entry).to_owned(), task)).or_default() += 1;
    }
    let count = |wanted: &str| {
        counts.iter().filter(|((found, _), _)| found == wanted).map(|(_, count)| count).sum::<u32>()
    };
    for once in ["StartExecution", "ExecutionStarted", "ExecutionCompleted"] {
        assert_eq!(count(once), 1, "seed {seed}: {once} in the log of {id}");
    }
    for ((found, task), times) in &counts {
        if found == "AgentExecutionRequested" || found == "AgentExecutionCompleted" {
            assert_eq!(*times, 1, "seed {seed}: {found} of {task} in the log of {id}");
        }
    }
    assert_eq!(
        count("AgentExecutionRequested"),
        count("AgentExecutionCompleted"),
        "seed {seed}: runs of {id}"
    );
    assert!(count("JournalEntry") >= 2, "seed {seed}: journal of {id}");
    let facts = events.iter().map(|entry| &entry["body"]["fact"]);
    facts
        .filter(|fact| fact["type"] == "model_replied")
        .map(|fact| fact["cost_nanos"].as_u64().unwrap_or_default())
        .sum()
}

fn kind(entry: &Value) -> &str {
    entry["type"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default()
}
