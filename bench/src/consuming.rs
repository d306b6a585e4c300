//! Consuming with idempotency over the bus, and raw async-nats that acknowledges and remembers nothing, in turn on the same backlog.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use async_nats::jetstream::consumer::{AckPolicy, Consumer, pull};
use async_nats::jetstream::{self, message::PublishMessage};
use futures::{StreamExt, TryStreamExt};
use muster_bus::{Bus, Consume, Delivery, MessageId, Routes};
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::{Addressed, Durable, Fault};
use muster_testkit::NatsServer;
use tokio_util::sync::CancellationToken;

use crate::cpu::Cpu;
use crate::publishing::{command, operator};
use crate::report::Report;
use crate::timing::median;

const ROUNDS: usize = 9;
/// Messages of one round.
const BACKLOG: usize = 20_000;
/// What raw async-nats asks for at once.
const BATCH: usize = 100;
/// Messages that the bus handles at the same time: enough to hide the way to the broker that each takes for its claim.
const CONCURRENCY: usize = 256;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let bus = Bus::open(nats.settings("tool")).await?;
    bus.ready().await;
    let raw = jetstream::new(operator(&nats).await?);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let (mut cpu, mut raw_cpu) = (Cpu::default(), Cpu::default());
    for _ in 0..ROUNDS {
        fill(&raw).await?;
        let before = Cpu::now();
        theirs.push(over_raw(&raw).await?);
        let between = Cpu::now();
        ours.push(over_bus(&bus, &raw).await?);
        raw_cpu += between - before;
        cpu += Cpu::now() - between;
    }
    let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
    let against = format!("raw async-nats in batches of {BATCH}, {:.0}/s", median(theirs));
    report.compare("consume_idempotent_vs_raw".to_owned(), median(ours), &against, ratio);
    let messages = (ROUNDS * BACKLOG) as f64;
    report.cpu("consume_raw", raw_cpu, messages);
    report.cpu("consume_idempotent", cpu, messages);
    Ok(())
}

/// Publishes the backlog of one round, each message with an id of its own.
async fn fill(raw: &jetstream::Context) -> anyhow::Result<()> {
    let body = serde_json::to_vec(&command())?;
    futures::stream::iter((0..BACKLOG).map(anyhow::Ok))
        .try_for_each_concurrent(512, |_| {
            let id = MessageId::random();
            let message = PublishMessage::build()
                .payload(body.clone().into())
                .header("ce-id", id.as_str())
                .message_id(id.as_str());
            async move {
                raw.send_publish(ToolExecutionRequested::SUBJECT, message).await?.await?;
                Ok(())
            }
        })
        .await
}

/// Messages a second until the last one is acknowledged.
async fn over_raw(raw: &jetstream::Context) -> anyhow::Result<f64> {
    let started = Instant::now();
    let stream = raw.get_stream(ToolExecutionRequested::STREAM.name()).await?;
    let consumer = stream.create_consumer(pull::Config {
        durable_name: Some("raw".to_owned()),
        filter_subject: ToolExecutionRequested::SUBJECT.to_owned(),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 65_536,
        ..Default::default()
    });
    let consumer = consumer.await?;
    let mut messages = consumer.stream().max_messages_per_batch(BATCH).messages().await?;
    for _ in 0..BACKLOG {
        let message = messages.next().await.context("the consumer ended")??;
        serde_json::from_slice::<ToolExecutionRequested>(&message.payload)?;
        message.ack().await.map_err(|error| anyhow!(error))?;
    }
    acknowledged(&consumer).await?;
    Ok(BACKLOG as f64 / started.elapsed().as_secs_f64())
}

async fn over_bus(bus: &Bus, raw: &jetstream::Context) -> anyhow::Result<f64> {
    let handled = Arc::new(AtomicUsize::new(0));
    let settings = Consume { concurrency: CONCURRENCY, ..Default::default() };
    let routes = Routes::new(handled.clone()).on_with(settings, handle);
    let stop = CancellationToken::new();
    let started = Instant::now();
    let serving = tokio::spawn({
        let (bus, stop) = (bus.clone(), stop.clone());
        async move { routes.serve(&bus, stop).await }
    });
    while handled.load(Ordering::Relaxed) < BACKLOG {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let stream = raw.get_stream(ToolExecutionRequested::STREAM.name()).await?;
    let consumer = stream.get_consumer::<pull::Config>("tool-tool-execution-requested").await;
    acknowledged(&consumer.map_err(|error| anyhow!(error))?).await?;
    let rate = BACKLOG as f64 / started.elapsed().as_secs_f64();
    stop.cancel();
    serving.await??;
    Ok(rate)
}

async fn handle(
    handled: Arc<AtomicUsize>,
    _: Delivery<ToolExecutionRequested>,
) -> Result<(), Fault> {
    handled.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

async fn acknowledged(consumer: &Consumer<pull::Config>) -> anyhow::Result<()> {
    loop {
        let info = consumer.get_info().await?;
        if info.num_pending == 0 && info.num_ack_pending == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
