//! Follows the live stream of an execution to its end, over broken connections too.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use crate::client::Client;

/// How often a stream may break in a row without a single event.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// Tells every step and token once, and returns the final state.
pub(crate) async fn follow(
    client: &Client,
    execution_id: &str,
    mut tell: impl FnMut(&str, &Value),
) -> Result<Value> {
    let mut last = String::new();
    let mut broken = 0;
    while broken < TRIES {
        let request = client
            .request(Method::GET, &format!("/v1/executions/{execution_id}/events"))
            .header(header::ACCEPT, "text/event-stream")
            .header("last-event-id", &last);
        let response = client.send(request).await.context("the live stream cannot be opened")?;
        if response.status() == StatusCode::NO_CONTENT {
            bail!("the live stream was at its end already");
        }
        let mut events = response.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            broken = 0;
            let data = serde_json::from_str(&event.data)
                .with_context(|| format!("an event is not JSON: {}", event.data))?;
            if event.event == "done" {
                return Ok(data);
            }
            tell(&event.event, &data);
            last = event.id;
        }
        broken += 1;
        tokio::time::sleep(PAUSE).await;
    }
    bail!("the live stream broke {TRIES} times in a row")
}
