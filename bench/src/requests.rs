//! The same question and answer over the bus, over raw async-nats and over HTTP, in turn.

use std::time::Duration;

use anyhow::anyhow;
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use muster_bus::{Bus, Routes};
use muster_contracts::Fault;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
use muster_testkit::NatsServer;
use tokio_util::sync::CancellationToken;

use crate::report::Report;
use crate::timing::{Measured, median, run, together};

const CONCURRENCY: [usize; 4] = [1, 16, 64, 256];
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1200);
const RAW_SUBJECT: &str = "bench.raw";

/// About 190 bytes of JSON each way, as in the spike of the design.
fn question() -> GetExecutionRequest {
    GetExecutionRequest { execution_id: "x".repeat(160) }
}

fn answer(request: GetExecutionRequest) -> ExecutionState {
    ExecutionState {
        execution_id: request.execution_id,
        status: "running".to_owned(),
        ..Default::default()
    }
}

async fn handle(_app: (), request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
    Ok(answer(request))
}

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let (server, client) = (connect(&nats).await?, connect(&nats).await?);
    let stop = CancellationToken::new();
    tokio::spawn({
        let stop = stop.clone();
        async move { Routes::new(()).rpc(handle).serve(&server, stop).await }
    });
    let raw = serve_raw(&nats).await?;
    let (http, url) = serve_http().await?;
    muster_testkit::eventually(Duration::from_secs(5), "the service answers", || {
        over_bus(client.clone())
    })
    .await;

    for concurrency in CONCURRENCY {
        let mut rounds = Rounds::default();
        for _ in 0..ROUNDS {
            let bus = client.clone();
            rounds.bus.push(run(concurrency, TIME, move |_| over_bus(bus.clone())).await?);
            let raw = raw.clone();
            rounds.raw.push(run(concurrency, TIME, move |_| over_raw(raw.clone())).await?);
            let (http, url) = (http.clone(), url.clone());
            let task = move |_| over_http(http.clone(), url.clone());
            rounds.http.push(run(concurrency, TIME, task).await?);
        }
        rounds.report(concurrency, report);
    }
    stop.cancel();
    Ok(())
}

/// The same question over each way, round by round.
#[derive(Default)]
struct Rounds {
    bus: Vec<Measured>,
    raw: Vec<Measured>,
    http: Vec<Measured>,
}

impl Rounds {
    fn report(&self, concurrency: usize, report: &mut Report) {
        let rate = |round: &Measured| round.per_second;
        let half = |round: &Measured| round.latency_ms(0.5);
        let middle = |rounds: &[Measured], figure: &dyn Fn(&Measured) -> f64| {
            median(rounds.iter().map(figure).collect())
        };
        // Each round is compared with its neighbour: a noisy moment hits both.
        let ratio = |others: &[Measured], figure: &dyn Fn(&Measured) -> f64| {
            let pairs = self.bus.iter().zip(others);
            median(pairs.map(|(bus, other)| figure(bus) / figure(other)).collect())
        };
        let name = |what: &str| format!("request_c{concurrency}_{what}");
        let against = format!("raw async-nats, {:.0}/s", middle(&self.raw, &rate));
        let key = format!("request_c{concurrency}");
        report.compare_cpu(&key, together(&self.bus), together(&self.raw));
        report.compare(name("vs_raw"), middle(&self.bus, &rate), &against, ratio(&self.raw, &rate));
        let against = format!("raw async-nats, {:.3} ms", middle(&self.raw, &half));
        report.compare_ms(
            name("p50_vs_raw"),
            middle(&self.bus, &half),
            &against,
            ratio(&self.raw, &half),
        );
        let against = format!("axum + reqwest, {:.0}/s", middle(&self.http, &rate));
        report.compare(
            name("vs_http"),
            middle(&self.bus, &rate),
            &against,
            ratio(&self.http, &rate),
        );
    }
}

async fn connect(nats: &NatsServer) -> anyhow::Result<Bus> {
    let bus = Bus::open(nats.operator("orchestration")).await?;
    bus.ready().await;
    Ok(bus)
}

async fn over_bus(bus: Bus) -> anyhow::Result<()> {
    bus.request(&question()).await?;
    Ok(())
}

async fn serve_raw(nats: &NatsServer) -> anyhow::Result<async_nats::Client> {
    let (server, client) = (nats.client("operator").await, nats.client("operator").await);
    let mut requests = server.queue_subscribe(RAW_SUBJECT, "bench".to_owned()).await?;
    server.flush().await?;
    tokio::spawn(async move {
        while let Some(message) = requests.next().await {
            let server = server.clone();
            tokio::spawn(async move {
                let request: GetExecutionRequest = serde_json::from_slice(&message.payload)?;
                let body = serde_json::to_vec(&answer(request))?;
                server
                    .publish(message.reply.ok_or_else(|| anyhow!("no reply subject"))?, body.into())
                    .await?;
                anyhow::Ok(())
            });
        }
    });
    Ok(client)
}

async fn over_raw(client: async_nats::Client) -> anyhow::Result<()> {
    let reply = client.request(RAW_SUBJECT, serde_json::to_vec(&question())?.into()).await?;
    serde_json::from_slice::<ExecutionState>(&reply.payload)?;
    Ok(())
}

async fn serve_http() -> anyhow::Result<(reqwest::Client, String)> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = Router::new().route(
        "/",
        post(|Json(request): Json<GetExecutionRequest>| async { Json(answer(request)) }),
    );
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok((reqwest::Client::new(), url))
}

async fn over_http(client: reqwest::Client, url: String) -> anyhow::Result<()> {
    let reply = client.post(url).json(&question()).send().await?.error_for_status()?;
    reply.json::<ExecutionState>().await?;
    Ok(())
}
