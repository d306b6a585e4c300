//! Acknowledged publishing over the bus and over raw async-nats, in turn: one by one, and many at the same time.

use std::time::Duration;

use async_nats::ConnectOptions;
use async_nats::jetstream::{self, message::PublishMessage};
use muster_bus::{Bus, MessageId};
use muster_contracts::Addressed;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::NatsServer;

use crate::report::Report;
use crate::timing::{Measured, median, run, together};

const ROUNDS: usize = 15;
/// Short and many rounds: what else the machine does then hits both alike.
const TIME: Duration = Duration::from_millis(400);
/// Publishers at the same time, and what the figure is called.
const IN_FLIGHT: [(usize, &str); 2] =
    [(1, "publish_serial_vs_raw"), (256, "publish_pipelined_vs_raw")];

/// About 200 bytes of JSON.
pub(crate) fn command() -> ToolExecutionRequested {
    ToolExecutionRequested {
        execution_id: "0192f0c2-7d3e-7a41-9c55-1d2e3f405162".to_owned(),
        task: "/do/3/measure".to_owned(),
        tool: "text_stats".to_owned(),
        arguments: None,
        idempotency_key: "x".repeat(80),
        ..Default::default()
    }
}

/// A raw connection that may do everything.
pub(crate) async fn operator(nats: &NatsServer) -> anyhow::Result<async_nats::Client> {
    let address: async_nats::ServerAddr = nats.url_of("operator").parse()?;
    let user = address.username().unwrap_or_default().to_owned();
    let password = address.password().unwrap_or_default().to_owned();
    Ok(ConnectOptions::with_user_and_password(user, password).connect(nats.url()).await?)
}

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    let bus = Bus::open(nats.settings("orchestration")).await?;
    bus.ready().await;
    let raw = jetstream::new(operator(&nats).await?);
    for (in_flight, name) in IN_FLIGHT {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let raw = raw.clone();
            let task = move |_| over_raw(raw.clone());
            theirs.push(run(in_flight, TIME, task).await?);
            let bus = bus.clone();
            let task = move |_| over_bus(bus.clone());
            ours.push(run(in_flight, TIME, task).await?);
        }
        let cpu = (together(&ours), together(&theirs));
        let rates =
            |all: &[Measured]| -> Vec<f64> { all.iter().map(|one| one.per_second).collect() };
        let (ours, theirs) = (rates(&ours), rates(&theirs));
        let ratio = median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect());
        let against = format!("raw async-nats, {:.0}/s", median(theirs));
        report.compare(name.to_owned(), median(ours), &against, ratio);
        report.compare_cpu(name.trim_end_matches("_vs_raw"), cpu.0, cpu.1);
    }
    Ok(())
}

/// As raw as an acknowledged publish that survives a retry can be: with an id.
async fn over_raw(raw: jetstream::Context) -> anyhow::Result<()> {
    let id = MessageId::random();
    let message = PublishMessage::build()
        .payload(serde_json::to_vec(&command())?.into())
        .message_id(id.as_str());
    raw.send_publish(ToolExecutionRequested::SUBJECT, message).await?.await?;
    Ok(())
}

async fn over_bus(bus: Bus) -> anyhow::Result<()> {
    bus.publish(&command(), &MessageId::random()).await?;
    Ok(())
}
