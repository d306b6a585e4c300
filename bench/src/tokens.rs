//! From the moment when the model service sends a token to its arrival at the client of the SSE stream.

use std::time::Duration;

use anyhow::Context;
use chrono::Utc;
use futures::StreamExt;
use serde_json::{Value, json};

use crate::platform::Platform;
use crate::report::Report;
use crate::timing::median;

const RUNS: usize = 5;

const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: bench, name: talk, version: '1.0.0'}
do:
- settle: {wait: {milliseconds: 500}}
- talk: {call: model, with: {model: offline, prompt: '${ .text }'}}
";

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    // A token every few milliseconds, as models send them.
    let platform = Platform::start(&[("MUSTER_OFFLINE_DELAY_MS", "4")]).await?;
    platform.put_workflow(WORKFLOW).await?;
    let mut latencies = Vec::new();
    for _ in 0..RUNS {
        latencies.extend(one_run(&platform).await?);
    }
    anyhow::ensure!(!latencies.is_empty(), "no token arrived");
    report.add("token_to_sse_p50_ms".to_owned(), median(latencies), "ms");
    Ok(())
}

async fn one_run(platform: &Platform) -> anyhow::Result<Vec<f64>> {
    let text = "A model speaks word by word. Each word travels over the bus to the gateway. From there it reaches the client at once. ".repeat(4);
    let body = json!({ "workflow": "talk", "input": { "text": text } });
    let started: Value = platform
        .client
        .post(format!("{}/v1/executions", platform.url))
        .json(&body)
        .send()
        .await?
        .error_for_status()?
        .json()
        .await?;
    let id = started.get("execution_id").and_then(Value::as_str).context("an execution id")?;
    let request = platform
        .client
        .get(format!("{}/v1/executions/{id}/events", platform.url))
        .header("Accept", "text/event-stream");
    let mut chunks = request.send().await?.error_for_status()?.bytes_stream();
    let (mut buffer, mut latencies) = (String::new(), Vec::new());
    while let Ok(Some(chunk)) = tokio::time::timeout(Duration::from_secs(30), chunks.next()).await {
        let now = Utc::now().timestamp_micros() as f64 / 1000.0;
        buffer.push_str(&String::from_utf8_lossy(&chunk?));
        while let Some((block, rest)) =
            buffer.split_once("\n\n").map(|(block, rest)| (block.to_owned(), rest.to_owned()))
        {
            buffer = rest;
            let field =
                |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            match field("event:") {
                Some("done") => return Ok(latencies),
                Some("token") => {
                    let data: Value = serde_json::from_str(field("data:").unwrap_or_default())?;
                    latencies.extend(
                        data.get("sent_at_ms").and_then(Value::as_f64).map(|sent| now - sent),
                    );
                }
                _ => {}
            }
        }
    }
    Ok(latencies)
}
