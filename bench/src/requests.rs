//! The same question and answer over the bus, over raw async-nats and over HTTP, in turn.

use std::time::Duration;

use anyhow::anyhow;
use axum::routing::post;
use axum::{Json, Router};
use futures::StreamExt;
use muster_bus::{Bus, Routes, Settings};
use muster_contracts::Fault;
use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
use muster_testkit::NatsServer;
use tokio_util::sync::CancellationToken;

use crate::report::Report;
use crate::timing::{median, run};

const CONCURRENCY: [usize; 3] = [1, 16, 64];
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
        let mut rates = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let bus = client.clone();
            rates.0.push(run(concurrency, TIME, move |_| over_bus(bus.clone())).await?.per_second);
            let raw = raw.clone();
            rates.1.push(run(concurrency, TIME, move |_| over_raw(raw.clone())).await?.per_second);
            let (http, url) = (http.clone(), url.clone());
            rates.2.push(
                run(concurrency, TIME, move |_| over_http(http.clone(), url.clone()))
                    .await?
                    .per_second,
            );
        }
        let ratio = |others: &[f64]| {
            median(rates.0.iter().zip(others).map(|(bus, other)| bus / other).collect())
        };
        let (raw, http) = (ratio(&rates.1), ratio(&rates.2));
        let bus = median(rates.0.clone());
        report.compare(
            format!("request_c{concurrency}_vs_raw"),
            bus,
            &format!("raw async-nats, {:.0}/s", median(rates.1.clone())),
            raw,
        );
        report.compare(
            format!("request_c{concurrency}_vs_http"),
            bus,
            &format!("axum + reqwest, {:.0}/s", median(rates.2.clone())),
            http,
        );
    }
    stop.cancel();
    Ok(())
}

async fn connect(nats: &NatsServer) -> anyhow::Result<Bus> {
    let bus = Bus::open(Settings::new("orchestration", nats.url())).await?;
    bus.ready().await;
    Ok(bus)
}

async fn over_bus(bus: Bus) -> anyhow::Result<()> {
    bus.request(&question()).await?;
    Ok(())
}

async fn serve_raw(nats: &NatsServer) -> anyhow::Result<async_nats::Client> {
    let (server, client) =
        (async_nats::connect(nats.url()).await?, async_nats::connect(nats.url()).await?);
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
