//! Any process may be killed at any moment, and nothing is lost and nothing is done twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::put;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::platform::{Platform, example};

/// The services that are killed.
const VICTIMS: [&str; 5] = ["orchestration", "agent", "tool", "model", "execution-log"];
/// Executions of the example, and as many of the workflow with side effects.
const EXECUTIONS: usize = 8;
const ALL_END_WITHIN: Duration = Duration::from_secs(240);

/// Each execution leaves three marks in the outside world, one after the other.
const EFFECTS: &str = "
document: {dsl: '1.0.3', namespace: chaos, name: effects, version: '1.0.0'}
do:
- mark:
    for: {each: step, in: '${ [\"one\", \"two\", \"three\"] }'}
    do:
    - put:
        call: tool
        with:
          tool: http_request
          arguments:
            method: PUT
            url: '${ $workflow.input.base + \"/\" + $workflow.input.run + \"-\" + $step }'
    - pause: {wait: {milliseconds: 50}}
";

/// The outside world: what was done, by the idempotency key of the request.
type World = Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>;

/// Does what a server that honours `Idempotency-Key` does: a second request with the key changes nothing.
async fn mark(
    State(world): State<World>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> &'static str {
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap().to_owned())
        .unwrap_or_default();
    world.lock().unwrap().entry(name).or_default().insert(key);
    "marked"
}

async fn outside() -> (World, String) {
    let world = World::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = Router::new().route("/{name}", put(mark)).with_state(world.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (world, address)
}

pub(crate) fn number(name: &str, default: u64) -> u64 {
    std::env::vars()
        .find(|(found, _)| found == name)
        .and_then(|(_, value)| value.parse().ok())
        .unwrap_or(default)
}

#[tokio::test(flavor = "multi_thread")]
async fn chaos_loses_nothing_and_doubles_nothing() {
    let seed = number("MUSTER_CHAOS_SEED", rand::random::<u32>().into());
    let rounds = number("MUSTER_CHAOS_ROUNDS", 12);
    println!("seed {seed}: MUSTER_CHAOS_SEED={seed} repeats this run's choices; {rounds} kills");
    let mut choose = StdRng::seed_from_u64(seed);
    let (world, address) = outside().await;
    let platform = Platform::start_with(&[("MUSTER_HTTP_ALLOW", &address)]).await;
    let brief = platform.load(&example()).await;
    let effects = platform.put_workflow(EFFECTS.to_owned()).await;
    platform
        .ingest("handbook", &std::fs::read_to_string(example().join("document.md")).unwrap())
        .await;

    let mut ids = Vec::new();
    for run in 0..EXECUTIONS {
        let question =
            json!({ "collection": "handbook", "question": "What matters most, and why?" });
        ids.push(platform.start_execution(&brief, &question, &format!("brief-{run}")).await);
        let marks = json!({ "base": format!("http://{address}"), "run": format!("run{run}") });
        ids.push(platform.start_execution(&effects, &marks, &format!("effects-{run}")).await);
    }
    for _ in 0..rounds {
        tokio::time::sleep(Duration::from_millis(choose.random_range(50..1200))).await;
        let victim = &platform.processes[VICTIMS[choose.random_range(0..VICTIMS.len())]];
        victim.kill_9();
        tokio::time::sleep(Duration::from_millis(choose.random_range(0..400))).await;
        victim.restart();
    }

    for id in &ids {
        let state = platform.ended(id, ALL_END_WITHIN).await;
        assert_eq!(state["status"], "completed", "seed {seed}: {state:#}");
    }
    assert_eq!(world.lock().unwrap().len(), EXECUTIONS * 3, "seed {seed}: each mark is there");
    for (mark, keys) in world.lock().unwrap().iter() {
        assert_eq!(keys.len(), 1, "seed {seed}: {mark} was done under {keys:?}");
    }
    for id in &ids {
        log_is_complete(&platform, id, seed).await;
    }
    assert!(
        platform.bus().await.dead_letters().list(10).await.unwrap().is_empty(),
        "seed {seed}: dead letters"
    );
}

/// The log has the start and the end once, each command with one end, and no event twice.
async fn log_is_complete(platform: &Platform, id: &str, seed: u64) {
    let events =
        muster_testkit::eventually(Duration::from_secs(60), "the log has the end", || async {
            let (status, timeline) =
                platform.get(&format!("/v1/executions/{id}/events?limit=1000")).await;
            let entries = timeline["events"].as_array().cloned().unwrap_or_default();
            let ended = entries.iter().any(|entry| kind(entry) == "ExecutionCompleted");
            if status.is_success() && ended {
                Ok(entries)
            } else {
                Err(format!("{status} {} entries", entries.len()))
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
    assert!(count("JournalEntry") >= 3, "seed {seed}: journal of {id}");
}

fn kind(entry: &Value) -> &str {
    entry["type"].as_str().and_then(|name| name.rsplit('.').next()).unwrap_or_default()
}
