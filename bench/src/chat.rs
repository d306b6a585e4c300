//! Chat completions through gateway, bus and model service, and the same asked of the provider directly, in the same run.

use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::Utc;
use futures::StreamExt;
use futures::future::try_join_all;
use muster_runtime::testing::{Running, start};
use muster_testkit::{NatsServer, eventually, free_port};
use reqwest::Client;
use serde_json::{Value, json};

use crate::chat_mock;
use crate::report::Report;
use crate::timing::{Measured, median, run};

const CONCURRENCY: [usize; 4] = [1, 16, 64, 256];
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1500);
/// Streams at the same time whose lag is measured, and of which every token must arrive.
const PACED: usize = 50;
const MANY: usize = 1_000;
/// How often is asked to see whether memory stays as it is.
const CALLS: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    #[cfg(feature = "platform")]
    idle(report).await?;
    let provider = chat_mock::serve().await?;
    let services = Services::start(&provider).await;
    let ours = Way { client: Client::new(), url: format!("{}/v1/chat/completions", services.url) };
    let direct = Way { client: Client::new(), url: format!("{provider}/chat/completions") };
    eventually(PATIENCE, "gateway and model answer", || ours.ask()).await;
    for way in [&ours, &direct] {
        run(16, TIME, asking(way)).await?;
    }
    for concurrency in CONCURRENCY {
        compare(&ours, &direct, concurrency, report).await?;
    }
    streams(&ours, &direct, report).await?;
    memory(&ours, report).await
}

/// What every service together holds in memory where nothing is asked. What was measured before in this process counts too: `-- chat` alone tells it.
#[cfg(feature = "platform")]
async fn idle(report: &mut Report) -> anyhow::Result<()> {
    let platform = crate::platform::Platform::start(&[]).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    report.add("platform_idle_memory_mib".to_owned(), resident_mib()?, "MiB");
    drop(platform);
    Ok(())
}

/// What a chat completion needs, in this process.
struct Services {
    url: String,
    _running: Running,
    _nats: NatsServer,
}

impl Services {
    async fn start(provider: &str) -> Self {
        let nats = NatsServer::start().await;
        let address = format!("127.0.0.1:{}", free_port());
        let settings = [
            ("OPENAI_BASE_URL", provider),
            ("OPENAI_API_KEY", "sk-bench"),
            ("MUSTER_OPENAI_MODEL", "instant"),
            ("MUSTER_MODEL_CONCURRENCY", "1024"),
            ("MUSTER_MAX_STREAMS", "2048"),
            ("MUSTER_HTTP_ADDR", &address),
        ];
        let services = [muster_gateway::service(), muster_model::service()];
        let running = start(services, &nats.env(&settings));
        Self { url: format!("http://{address}"), _running: running, _nats: nats }
    }
}

/// A way to the model.
#[derive(Clone)]
struct Way {
    client: Client,
    url: String,
}

impl Way {
    async fn ask(&self) -> anyhow::Result<()> {
        let response = self.client.post(&self.url).json(&question("instant", false)).send().await?;
        let reply: Value = response.error_for_status()?.json().await?;
        let text = reply.pointer("/choices/0/message/content").and_then(Value::as_str);
        ensure!(text.is_some_and(|text| text.ends_with("a crane.")), "no reply: {reply}");
        Ok(())
    }

    /// The lag of each token of a paced stream, in milliseconds.
    async fn stream(&self) -> anyhow::Result<Vec<f64>> {
        let request = self.client.post(&self.url).json(&question("paced", true));
        let mut chunks = request.send().await?.error_for_status()?.bytes_stream();
        let (mut lags, mut rest) = (Vec::new(), Vec::new());
        while let Some(chunk) = chunks.next().await {
            let now = Utc::now().timestamp_micros() as f64;
            rest.extend_from_slice(&chunk?);
            while let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let event: Vec<u8> = rest.drain(..end + 2).collect();
                lags.extend(sent_at(&event).map(|sent| (now - sent) / 1_000.0));
            }
        }
        Ok(lags)
    }
}

/// About 600 bytes.
fn question(model: &str, stream: bool) -> Value {
    json!({
        "model": model,
        "messages": [
            { "role": "system", "content": "You answer questions about a harbour, in one sentence, and say only what the notes say. ".repeat(4) },
            { "role": "user", "content": "What is in the harbour today?" },
        ],
        "temperature": 0.2,
        "max_completion_tokens": 100,
        "stream": stream,
    })
}

/// The time in a token's text; none of other events.
fn sent_at(event: &[u8]) -> Option<f64> {
    let piece: Value = serde_json::from_slice(event.strip_prefix(b"data: ")?).ok()?;
    piece.pointer("/choices/0/delta/content")?.as_str()?.trim().parse().ok()
}

fn asking(
    way: &Way,
) -> impl Fn(u64) -> futures::future::BoxFuture<'static, anyhow::Result<()>> + Clone + Send + 'static
{
    let way = way.clone();
    move |_| {
        let way = way.clone();
        Box::pin(async move { way.ask().await })
    }
}

async fn compare(
    ours: &Way,
    direct: &Way,
    concurrency: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (mut through, mut straight) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        straight.push(run(concurrency, TIME, asking(direct)).await?);
        through.push(run(concurrency, TIME, asking(ours)).await?);
    }
    let middle =
        |rounds: &[Measured]| median(rounds.iter().map(|round| round.per_second).collect());
    let pairs = || through.iter().zip(&straight);
    let ratio = median(pairs().map(|(ours, direct)| ours.per_second / direct.per_second).collect());
    let against = format!("the provider asked directly, {:.0}/s", middle(&straight));
    let name = format!("chat_c{concurrency}");
    report.compare(name.clone(), middle(&through), &against, ratio);
    let (mut cpu, mut count) = (crate::cpu::Cpu::default(), 0.0);
    for round in &through {
        cpu += round.cpu;
        count += round.count();
    }
    report.cpu(&name, cpu, count);
    if concurrency == 1 {
        // Each round against its neighbour: a noisy moment hits both.
        let added = pairs().map(|(ours, direct)| ours.latency_ms(0.5) - direct.latency_ms(0.5));
        report.add("chat_c1_added_p50_ms".to_owned(), median(added.collect()), "ms");
    }
    Ok(())
}

async fn streams(ours: &Way, direct: &Way, report: &mut Report) -> anyhow::Result<()> {
    let straight = lags(direct, PACED).await?;
    let through = lags(ours, PACED).await?;
    for (name, part) in [("stream50_lag_p50_ms", 0.5), ("stream50_lag_p99_ms", 0.99)] {
        let (ours, direct) = (quantile(&through, part), quantile(&straight, part));
        let against = format!("the provider's stream read directly, {direct:.2} ms");
        report.compare_ms(name.to_owned(), ours, &against, ours / direct);
    }
    let before = crate::cpu::Cpu::now();
    let many = lags(ours, MANY).await?;
    let used = crate::cpu::Cpu::now() - before;
    let expected = MANY * usize::try_from(chat_mock::TOKENS)?;
    report.add(
        "stream1000_lost_tokens".to_owned(),
        (expected - many.len().min(expected)) as f64,
        "",
    );
    report.add("stream1000_lag_p50_ms".to_owned(), quantile(&many, 0.5), "ms");
    report.cpu("stream1000_token", used, many.len() as f64);
    ensure!(many.len() == expected, "{} of {expected} tokens arrived", many.len());
    Ok(())
}

/// The lags of all tokens of so many streams, in order of size.
async fn lags(way: &Way, count: usize) -> anyhow::Result<Vec<f64>> {
    let streams = (0..count).map(|at| {
        let way = way.clone();
        tokio::spawn(async move {
            // Not all at the same moment, as clients do not come so.
            tokio::time::sleep(chat_mock::BETWEEN.mul_f64(at as f64 / 10.0)).await;
            way.stream().await
        })
    });
    let mut lags = Vec::new();
    for stream in try_join_all(streams).await? {
        lags.extend(stream?);
    }
    lags.sort_by(f64::total_cmp);
    Ok(lags)
}

fn quantile(sorted: &[f64], part: f64) -> f64 {
    let index = ((sorted.len() as f64 - 1.0) * part).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

async fn memory(ours: &Way, report: &mut Report) -> anyhow::Result<()> {
    let begun = std::time::Instant::now();
    let before = resident_mib()?;
    let workers = (0..64).map(|_| {
        let ours = ours.clone();
        tokio::spawn(async move {
            for _ in 0..CALLS / 64 {
                ours.ask().await?;
            }
            anyhow::Ok(())
        })
    });
    for worker in try_join_all(workers).await.context("a worker ended")? {
        worker?;
    }
    report.add("chat_100k_memory_growth_mib".to_owned(), resident_mib()? - before, "MiB");
    report.add(
        "chat_100k_per_second".to_owned(),
        CALLS as f64 / begun.elapsed().as_secs_f64(),
        "1/s",
    );
    Ok(())
}

/// What this process holds in memory now.
fn resident_mib() -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status").context("/proc is there on Linux")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse().ok());
    kib.map(|kib: f64| kib / 1024.0).context("VmRSS is a number")
}
