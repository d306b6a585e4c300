//! What is slow is counted and said.

use std::future::pending;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use metrics_exporter_prometheus::PrometheusBuilder;
use muster_bus::{Bus, Delivery, Routes};
use muster_contracts::Fault;
use muster_contracts::llm::v1::Token;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::{NatsServer, eventually};

use crate::log::Log;
use crate::{command, connect, id, operator, serve};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection holds so many messages of a subscription that nobody reads.
const HELD: usize = 1 << 16;

#[tokio::test]
async fn a_subscriber_that_does_not_read_is_counted_and_named_in_the_log() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (figures, (log, _logging)) = (recorder.handle(), Log::capture());
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let reader = connect(&nats, "gateway").await;
    let unread = reader.listen::<Token>().await.unwrap();
    reader.ping().await.unwrap();
    let sender = operator(&nats).await;
    for _ in 0..HELD + 1_000 {
        sender.publish("llm.stream.s", "{}".into()).await.unwrap();
    }
    sender.flush().await.unwrap();
    let counted = "muster_bus_slow_subscriptions_total{service=\"gateway\"}";
    eventually(PATIENCE, "the loss is counted", || async {
        let text = figures.render();
        if text.contains(counted) { Ok(()) } else { Err(text) }
    })
    .await;
    let lines = log.lines("slow consumer, messages were dropped");
    assert!(lines[0].contains("WARN") && lines[0].contains("subscription"), "{lines:?}");
    drop(unread);
}

#[tokio::test]
async fn a_consumer_that_falls_behind_is_counted_and_named_in_the_log() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let (figures, (log, _logging)) = (recorder.handle(), Log::capture());
    let _counting = metrics::set_default_local_recorder(&recorder);
    let nats = NatsServer::start().await;
    let mut settings = nats.settings("tool");
    settings.lag_every = Duration::from_millis(100);
    settings.drain_timeout = Duration::from_millis(100);
    let slow = Bus::open(settings).await.unwrap();
    let sender = connect(&nats, "orchestration").await;
    let never = |(), _: Delivery<ToolExecutionRequested>| pending::<Result<(), Fault>>();
    let _serving = serve(&slow, Routes::new(()).on(never));
    let counted = "muster_bus_slow_consumers_total{service=\"tool\",stream=\"EXECUTIONS\",consumer=\"tool-tool-execution-requested\"} 1";
    let publish = |n: usize| {
        let (sender, key) = (sender.clone(), n.to_string());
        async move { sender.publish(&command(&key), &id(&key)).await.map(drop) }
    };
    let mut sending = stream::iter(0..).map(publish).buffer_unordered(64);
    let sent = tokio::time::timeout(PATIENCE, async {
        let mut count = 0;
        while !figures.render().contains(counted) {
            for sent in sending.by_ref().take(100).collect::<Vec<_>>().await {
                sent.unwrap();
            }
            count += 100;
        }
        count
    });
    let sent = sent.await.expect("the lag is counted");
    assert!(sent >= 1_000, "{sent}");
    let lines = log.lines("slow consumer: more messages come than are handled");
    for word in ["WARN", "consumer=\"tool-tool-execution-requested\"", "pending="] {
        assert!(lines[0].contains(word), "no {word:?} in {lines:?}");
    }
}
