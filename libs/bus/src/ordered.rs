//! A consumer for one reader: every message in its order, nothing acknowledged, gone with its reader.
//!
//! The server pushes into the reader's own inbox, so that a reader needs no right to pull from any consumer; nothing is missed unnoticed, because the consumer numbers what it sends.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, push};
use async_nats::jetstream::{self};
use async_nats::{HeaderMap, StatusCode, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use crate::{Bus, headers};

/// How often the server says that it has nothing new.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// A server that is silent for so long has lost the consumer.
const SILENCE: Duration = Duration::from_secs(12);
/// A server that waits for a sign of the reader says so in a heartbeat.
const STALLED: &str = "Nats-Consumer-Stalled";
/// How many messages the server has sent, in a heartbeat.
const LAST: &str = "Nats-Last-Consumer";

pub(crate) struct Ordered {
    bus: Bus,
    sent: Subscriber,
    /// How many messages have come.
    count: u64,
    /// How many were there when it was opened.
    waiting: u64,
}

impl Ordered {
    /// The messages from `start` on that fit one of the patterns.
    pub(crate) async fn open(
        bus: &Bus,
        stream: &str,
        patterns: &[String],
        start: u64,
    ) -> Result<Self, async_nats::Error> {
        let policy = DeliverPolicy::ByStartSequence { start_sequence: start };
        Self::open_at(bus, stream, patterns, policy).await
    }

    /// As `open`, from wherever the policy says.
    pub(crate) async fn open_at(
        bus: &Bus,
        stream: &str,
        patterns: &[String],
        policy: DeliverPolicy,
    ) -> Result<Self, async_nats::Error> {
        Self::open_as(bus, stream, patterns, policy, false).await
    }

    /// As `open_at`, without the bodies: they do not even travel.
    pub(crate) async fn open_headers(
        bus: &Bus,
        stream: &str,
        patterns: &[String],
        policy: DeliverPolicy,
    ) -> Result<Self, async_nats::Error> {
        Self::open_as(bus, stream, patterns, policy, true).await
    }

    async fn open_as(
        bus: &Bus,
        stream: &str,
        patterns: &[String],
        deliver_policy: DeliverPolicy,
        headers_only: bool,
    ) -> Result<Self, async_nats::Error> {
        let inbox = bus.client().new_inbox();
        // Subscribe first: the server sends as soon as the consumer is there.
        let sent = bus.client().subscribe(inbox.clone()).await?;
        let config = push::Config {
            deliver_subject: inbox,
            deliver_policy,
            headers_only,
            filter_subjects: patterns.to_vec(),
            ack_policy: AckPolicy::None,
            max_deliver: 1,
            flow_control: true,
            idle_heartbeat: HEARTBEAT,
            memory_storage: true,
            num_replicas: 1,
            ..push::Config::default()
        };
        let consumer = bus.jetstream().create_consumer_on_stream(config, stream).await?;
        let waiting = consumer.cached_info().num_pending;
        Ok(Self { bus: bus.clone(), sent, count: 0, waiting })
    }

    /// Whether there was nothing when it was opened.
    pub(crate) const fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// The next message. An error means that something was missed, or that the consumer is gone: open another behind the last message.
    pub(crate) async fn next(&mut self) -> Result<jetstream::Message, async_nats::Error> {
        loop {
            let message = match self.sent.next().now_or_never() {
                Some(message) => message,
                None => tokio::time::timeout(SILENCE, self.sent.next()).await?,
            };
            let message = message.ok_or("the subscription has ended")?;
            if message.status == Some(StatusCode::IDLE_HEARTBEAT) {
                self.sign(message.headers.as_ref(), message.reply.as_deref()).await?;
                continue;
            }
            let message = jetstream::Message { message, context: self.bus.jetstream().clone() };
            let number = message.info()?.consumer_sequence;
            self.count += 1;
            if number != self.count {
                return Err(format!("message {number} came where {} was due", self.count).into());
            }
            return Ok(message);
        }
    }

    /// Answers the server's question whether the reader keeps up, and compares what was sent with what has come.
    async fn sign(
        &self,
        headers: Option<&HeaderMap>,
        reply: Option<&str>,
    ) -> Result<(), async_nats::Error> {
        if let Some(question) = reply.or_else(|| headers::get(headers, STALLED)) {
            self.bus.client().publish(question.to_owned(), Bytes::new()).await?;
        }
        match headers::get(headers, LAST).map(str::parse::<u64>) {
            Some(Ok(sent)) if self.count != sent => {
                Err(format!("{sent} messages were sent, {} have come", self.count).into())
            }
            _ => Ok(()),
        }
    }
}
