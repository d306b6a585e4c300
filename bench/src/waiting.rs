//! Very many executions that wait: what they take, and how they come back when everything was restarted. Measured only where it is named.

use std::time::{Duration, Instant};

use anyhow::Context;
use futures::StreamExt;
use muster_bus::{Bus, MessageId};
use muster_contracts::Json;
use muster_contracts::workflow::v1::{GetExecutionRequest, PutWorkflowRequest, StartExecution};
use muster_runtime::testing::start;
use muster_testkit::{NatsServer, eventually};
use serde_json::json;

use crate::report::Report;

const COUNT: usize = 100_000;
/// How many of them are asked for their state.
const SAMPLES: usize = 1_000;
const CONCURRENCY: usize = 256;
const PATIENCE: Duration = Duration::from_secs(600);

const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: bench, name: nap, version: '1.0.0'}
do:
- nap: {wait: {hours: 12}}
- done: {set: {n: '${ .n }'}}
";

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let service = start([muster_orchestration::service()], &nats.env(&[]));
    let bus = Bus::open(nats.settings("bench")).await?;
    bus.ready().await;
    let definition = eventually(PATIENCE, "orchestration answers", || async {
        bus.request(&PutWorkflowRequest { source: WORKFLOW.into(), ..Default::default() }).await
    })
    .await;
    let before = resident_mib()?;
    let begun = Instant::now();
    let starts = futures::stream::iter(0..COUNT).map(|n| {
        let command = StartExecution {
            execution_id: format!("w{n}"),
            workflow: definition.name.clone(),
            version: definition.version.clone(),
            digest: definition.digest.clone(),
            input: Some(Json(json!({ "n": n, "text": "x".repeat(200) }))),
            ..Default::default()
        };
        let bus = bus.clone();
        async move { bus.publish(&command, &MessageId::derived([&command.execution_id])).await }
    });
    let mut starts = starts.buffer_unordered(CONCURRENCY);
    while let Some(published) = starts.next().await {
        published?;
    }
    for n in (0..COUNT).rev().take(CONCURRENCY).chain(sample()) {
        waits(&bus, n).await;
    }
    report.add("waiting_started".to_owned(), COUNT as f64 / begun.elapsed().as_secs_f64(), "1/s");
    report.add("waiting_100k_memory_mib".to_owned(), resident_mib()? - before, "MiB");
    anyhow::ensure!(service.stop().await, "orchestration did not stop well");
    nats.restart().await;
    let begun = Instant::now();
    let _service = start([muster_orchestration::service()], &nats.env(&[]));
    bus.ready().await;
    waits(&bus, 0).await;
    report.add(
        "waiting_100k_first_answer_ms".to_owned(),
        begun.elapsed().as_secs_f64() * 1e3,
        "ms",
    );
    for n in sample() {
        waits(&bus, n).await;
    }
    report.add("waiting_100k_memory_after_restart_mib".to_owned(), resident_mib()? - before, "MiB");
    Ok(())
}

fn sample() -> impl Iterator<Item = usize> {
    (0..COUNT).step_by(COUNT / SAMPLES)
}

/// Until the execution waits as it should.
async fn waits(bus: &Bus, n: usize) {
    let request = GetExecutionRequest { execution_id: format!("w{n}") };
    eventually(PATIENCE, "the execution waits", || async {
        let state = bus.request_within(&request, Duration::from_secs(5)).await;
        let state = state.map_err(|fault| fault.message)?;
        let input = state.input.and_then(|input| input.0.get("n").cloned());
        match state.status.as_str() {
            "waiting" if input == Some(json!(n)) => Ok(()),
            other => Err(format!("{other}: {input:?}")),
        }
    })
    .await;
}

/// What this process holds in memory now.
fn resident_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc is there on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.map(|kib: f64| kib / 1024.0).context("VmRSS is a number")
}
