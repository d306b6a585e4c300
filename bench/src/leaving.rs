//! How long a provider is asked for what nobody wants any more: a cancelled execution, a client that hangs up.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::platform::Platform;
use crate::report::Report;

const TIMES: usize = 100;
const PATIENCE: Duration = Duration::from_secs(30);
const AGENT: &str = "name: thinker\ninstructions: Think.\n";
const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: bench, name: think, version: '1.0.0'}
do:
- think: {call: agent, with: {agent: thinker, input: go}}
";
/// A stream that has begun; behind it nothing comes.
const BEGUN: &str = concat!(
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n",
    r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"slow","choices":[{"index":0,"delta":{"role":"assistant","content":"Well"},"finish_reason":null}]}"#,
    "\n\n"
);

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let mut provider = Provider::serve().await?;
    let settings = [
        ("OPENAI_BASE_URL", provider.url.as_str()),
        ("OPENAI_API_KEY", "sk-bench"),
        ("MUSTER_OPENAI_MODEL", "slow"),
    ];
    let platform = Platform::start(&settings).await?;
    let agent = platform.client.put(format!("{}/v1/agents/thinker", platform.url)).body(AGENT);
    agent.header("content-type", "application/yaml").send().await?.error_for_status()?;
    platform.put_workflow(WORKFLOW).await?;
    let mut cancelled = Vec::new();
    for _ in 0..TIMES {
        cancelled.push(cancel(&platform, &mut provider).await?);
    }
    add(report, "cancel_to_provider", cancelled);
    for (name, stream) in [("hangup_to_provider", false), ("hangup_stream_to_provider", true)] {
        let mut left = Vec::new();
        for _ in 0..TIMES {
            left.push(hang_up(&platform, &mut provider, stream).await?);
        }
        add(report, name, left);
    }
    Ok(())
}

/// From the moment when the client begins to cancel an execution until the provider's connection is closed, in milliseconds.
async fn cancel(platform: &Platform, provider: &mut Provider) -> anyhow::Result<f64> {
    let url = format!("{}/v1/executions", platform.url);
    let started: Value =
        answered(platform.client.post(&url).json(&json!({ "workflow": "think" }))).await?;
    let id = started.get("execution_id").and_then(Value::as_str).context("an execution id")?;
    provider.until_asked().await?;
    let begun = Instant::now();
    let cancel = platform.client.post(format!("{url}/{id}/cancel")).json(&json!({}));
    let (left, state) = tokio::join!(provider.until_left(), answered(cancel));
    let status = state?.get("status").cloned().unwrap_or_default();
    ensure!(status == "cancelled", "the execution is {status}");
    Ok((left? - begun).as_secs_f64() * 1_000.0)
}

/// From the moment when a client closes its connection until the provider's is closed, in milliseconds.
async fn hang_up(
    platform: &Platform,
    provider: &mut Provider,
    stream: bool,
) -> anyhow::Result<f64> {
    let body = json!({ "model": "slow", "stream": stream, "messages": [{ "role": "user", "content": "go" }] });
    let request = platform.client.post(format!("{}/v1/chat/completions", platform.url)).json(&body);
    let mut asking = tokio::spawn(async move {
        let mut response = request.send().await?;
        while response.chunk().await?.is_some() {}
        anyhow::Ok(())
    });
    tokio::select! {
        asked = provider.until_asked() => asked?,
        ended = &mut asking => anyhow::bail!("the client got an answer: {ended:?}"),
    }
    // The stream's first token, or the time that it needs: both are behind the request by now.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let begun = Instant::now();
    asking.abort();
    Ok((provider.until_left().await? - begun).as_secs_f64() * 1_000.0)
}

async fn answered(request: RequestBuilder) -> anyhow::Result<Value> {
    Ok(request.send().await?.error_for_status()?.json().await?)
}

fn add(report: &mut Report, name: &str, mut times: Vec<f64>) {
    times.sort_by(f64::total_cmp);
    for (part, percent) in [(0.5, 50), (0.99, 99)] {
        let at = ((times.len() as f64 - 1.0) * part).round() as usize;
        let time = times.get(at).copied().unwrap_or_default();
        report.add(format!("{name}_p{percent}_ms"), time, "ms");
    }
}

/// Begins to answer, and never ends. One request at a time.
struct Provider {
    url: String,
    asked: mpsc::UnboundedReceiver<()>,
    left: mpsc::UnboundedReceiver<Instant>,
}

impl Provider {
    async fn serve() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let (asking, asked) = mpsc::unbounded_channel();
        let (leaving, left) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(answer(client, asking.clone(), leaving.clone()));
            }
        });
        Ok(Self { url, asked, left })
    }

    async fn until_asked(&mut self) -> anyhow::Result<()> {
        let asked = timeout(PATIENCE, self.asked.recv()).await;
        asked.context("the provider was not asked")?.context("the provider is gone")
    }

    async fn until_left(&mut self) -> anyhow::Result<Instant> {
        let left = timeout(PATIENCE, self.left.recv()).await;
        left.context("the connection stayed open")?.context("the provider is gone")
    }
}

async fn answer(
    mut client: TcpStream,
    asking: mpsc::UnboundedSender<()>,
    leaving: mpsc::UnboundedSender<Instant>,
) {
    let (mut buffer, mut request) = (vec![0; 4096], Vec::new());
    let mut asked = false;
    while let Ok(length @ 1..) = client.read(&mut buffer).await {
        request.extend_from_slice(buffer.get(..length).unwrap_or_default());
        // The body is JSON and ends the request.
        if !asked && request.windows(4).any(|bytes| bytes == b"\r\n\r\n") && request.ends_with(b"}")
        {
            asked = true;
            drop(client.write_all(BEGUN.as_bytes()).await);
            if asking.send(()).is_err() {
                return;
            }
        }
    }
    if asked {
        // Where nobody hears it the measurement is over.
        leaving.send(Instant::now()).unwrap_or_default();
    }
}
