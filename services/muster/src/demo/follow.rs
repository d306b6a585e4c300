//! Follows the live stream of an execution to its end, over broken connections too.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use eventsource_stream::Eventsource;
use futures::StreamExt;
use reqwest::{Method, StatusCode, header};
use serde_json::Value;

use crate::client::Client;

/// How often a stream may break in a row without a single event.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(500);

/// After so long a silence the platform is asked whether it can work at all.
const SILENCE: Duration = Duration::from_secs(3);
/// A platform that cannot work for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tells every step and token once, and returns the final state. `warn` hears why nothing happens, where the platform knows it.
pub(crate) async fn follow(
    client: &Client,
    execution_id: &str,
    mut tell: impl FnMut(&str, &Value),
    mut warn: impl FnMut(&str),
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
        let mut unready = Unready::default();
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE, events.next()).await else {
                unready.look(client, &mut warn).await?;
                continue;
            };
            let Some(Ok(event)) = next else { break };
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

/// Since when the platform says that it cannot work, and why.
#[derive(Default)]
struct Unready {
    since: Option<Instant>,
    reasons: String,
}

impl Unready {
    async fn look(&mut self, client: &Client, warn: &mut impl FnMut(&str)) -> Result<()> {
        let Some(reasons) = client.why_not_ready().await else {
            *self = Self::default();
            return Ok(());
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > PATIENCE {
            bail!("the platform could not work for {} s: {reasons}", PATIENCE.as_secs());
        }
        if reasons != self.reasons {
            warn(&format!("waiting: the platform cannot work now: {reasons}"));
            self.reasons = reasons;
        }
        Ok(())
    }
}
