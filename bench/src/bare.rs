//! What the bare broker takes for the messages of a `set`-only execution: the same subjects, sizes and order, and nothing else. No engine, no decoding, no rights, no Postgres, no HTTP.
//!
//! It is the bound of `set_only_executions_c256`: with these messages no services could be faster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, message::PublishMessage};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use futures::StreamExt;
use muster_bus::{Bus, MessageId};
use muster_contracts::workflow::v1::{ExecutionCompleted, ExecutionStarted, StartExecution};
use muster_contracts::{Addressed, Durable};
use muster_testkit::NatsServer;
use tokio::sync::oneshot;

use crate::publishing::operator;
use crate::report::Report;
use crate::timing::run;

const TIME: Duration = Duration::from_secs(6);
const IN_FLIGHT: usize = 256;
/// Who asks how an execution stands.
const STATE: &str = "bench.state";
/// Bytes of the bodies as the services write them.
const START: usize = 280;
const JOURNAL: usize = 1_150;
const STARTED: usize = 190;
const COMPLETED: usize = 210;
const HELD: usize = 1_050;
/// Bytes of the headers beside the id.
const HEADERS: usize = 330;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

pub(crate) async fn measure(report: &mut Report) -> anyhow::Result<()> {
    let nats = NatsServer::start().await;
    // Its services' streams are there.
    let bus = Bus::open(nats.settings("orchestration")).await?;
    bus.ready().await;
    let gateway = operator(&nats).await?;
    let waiting = Waiting::default();
    let others = [
        tokio::spawn(engine(operator(&nats).await?)),
        tokio::spawn(states(operator(&nats).await?)),
        tokio::spawn(log(operator(&nats).await?)),
        tokio::spawn(ends(gateway.clone(), waiting.clone())),
    ];
    // Until they all listen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let measured = run(IN_FLIGHT, TIME, move |_| {
        let (gateway, waiting) = (gateway.clone(), waiting.clone());
        async move { one(&gateway, &waiting).await }
    })
    .await?;
    report.add("set_only_bare_broker_c256".to_owned(), measured.per_second, "1/s");
    #[cfg(feature = "chat")]
    report.cpu("set_only_bare_broker_c256", measured.cpu, measured.count());
    for other in others {
        other.abort();
    }
    Ok(())
}

/// What the gateway sends for an execution.
async fn one(gateway: &Client, waiting: &Waiting) -> anyhow::Result<()> {
    let id = MessageId::random();
    let (tell, told) = oneshot::channel();
    lock(waiting).insert(id.as_str().to_owned(), tell);
    let context = jetstream::new(gateway.clone());
    let start = message(&id, &id, START);
    context.send_publish(StartExecution::SUBJECT, start).await?.await?;
    told.await?;
    gateway.request(STATE, id.as_str().to_owned().into()).await?;
    Ok(())
}

/// The engine: each start is a transition and two events.
async fn engine(client: Client) -> anyhow::Result<()> {
    let context = jetstream::new(client);
    let mut starts = messages(&context, "bare-engine", StartExecution::SUBJECT).await?;
    while let Some(start) = starts.next().await {
        let (start, context) = (start?, context.clone());
        tokio::spawn(async move {
            let id = start.headers.as_ref().and_then(|headers| headers.get("muster-execution"));
            let id = id.context("a start has its execution")?.to_string();
            let own = |name: &str| MessageId::derived([name, &id]);
            let (of, subject) = (MessageId::from(id.clone()), format!("journal.{id}"));
            let entry = message(&own("journal"), &of, JOURNAL).expected_last_subject_sequence(0);
            context.send_publish(subject, entry).await?.await?;
            let events = [
                (ExecutionStarted::SUBJECT, message(&own("started"), &of, STARTED)),
                (ExecutionCompleted::SUBJECT, message(&own("completed"), &of, COMPLETED)),
            ];
            let events = events.map(|(subject, event)| {
                let context = &context;
                async move { anyhow::Ok(context.send_publish(subject, event).await?.await?) }
            });
            futures::future::try_join_all(events).await?;
            start.ack().await.map_err(|error| anyhow!(error))
        });
    }
    Ok(())
}

/// Orchestration, as far as it is asked.
async fn states(client: Client) -> anyhow::Result<()> {
    let mut asked = client.queue_subscribe(STATE, "bare".to_owned()).await?;
    let state = Bytes::from("x".repeat(HELD));
    while let Some(request) = asked.next().await {
        let reply = request.reply.context("a request has somebody who waits")?;
        client.publish(reply, state.clone()).await?;
    }
    Ok(())
}

/// The log reads everything.
async fn log(client: Client) -> anyhow::Result<()> {
    let context = jetstream::new(client);
    let mut all = messages(&context, "bare-log", "").await?;
    while let Some(message) = all.next().await {
        message?.ack().await.map_err(|error| anyhow!(error))?;
    }
    Ok(())
}

/// The gateway hears of the ends.
async fn ends(client: Client, waiting: Waiting) -> anyhow::Result<()> {
    let mut ends = client.subscribe(ExecutionCompleted::SUBJECT).await?;
    while let Some(end) = ends.next().await {
        let id = end.headers.as_ref().and_then(|headers| headers.get("muster-execution"));
        let tell = id.and_then(|id| lock(&waiting).remove(id.as_str()));
        if let Some(Err(())) = tell.map(|tell| tell.send(())) {
            anyhow::bail!("nobody waits for {id:?}");
        }
    }
    Ok(())
}

async fn messages(
    context: &jetstream::Context,
    name: &str,
    filter: &str,
) -> anyhow::Result<pull::Stream> {
    let stream = context.get_stream(StartExecution::STREAM.name()).await?;
    let consumer = stream.create_consumer(pull::Config {
        durable_name: Some(name.to_owned()),
        filter_subject: filter.to_owned(),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 65_536,
        ..Default::default()
    });
    Ok(consumer.await?.stream().max_messages_per_batch(IN_FLIGHT).messages().await?)
}

fn message(id: &MessageId, execution: &MessageId, bytes: usize) -> PublishMessage {
    let mut headers = HeaderMap::new();
    headers.insert("muster-execution", execution.as_str());
    headers.insert("ce-all", "x".repeat(HEADERS - 60));
    PublishMessage::build()
        .headers(headers)
        .payload("x".repeat(bytes).into())
        .message_id(id.as_str())
}

fn lock(waiting: &Waiting) -> std::sync::MutexGuard<'_, HashMap<String, oneshot::Sender<()>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
