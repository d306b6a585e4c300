//! Reading a stream in its order, from a sequence, for ever.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream as Items, StreamExt};
use muster_contracts::{Addressed, Fault, Message, Stream, subject};
use tracing::debug;

use crate::incoming::Incoming;
use crate::publish::decode;
use crate::{Bus, headers};

/// Where to begin: behind this sequence. `After(0)` is the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct After(pub u64);

/// A message of a stream, not yet decoded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its subject.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// Its CloudEvents id; empty where it has none.
    pub id: String,
    /// Its CloudEvents type: the full name of the message.
    pub message_type: String,
    /// Its CloudEvents source.
    pub source: String,
    /// When the stream stored it.
    pub time: DateTime<Utc>,
    /// The execution that it belongs to; empty where it belongs to none.
    pub execution_id: String,
    /// JSON.
    pub body: Bytes,
}

impl Recorded {
    /// The message itself.
    ///
    /// # Errors
    /// INVALID where the body is of another type.
    pub fn decode<M: Message>(&self) -> Result<M, Fault> {
        decode(&self.body)
    }
}

impl From<Incoming> for Recorded {
    fn from(incoming: Incoming) -> Self {
        let header = |name| incoming.header(name).unwrap_or_default().to_owned();
        Self {
            id: header(headers::CE_ID),
            message_type: header(headers::CE_TYPE),
            source: header(headers::CE_SOURCE),
            execution_id: header(headers::EXECUTION),
            sequence: incoming.sequence,
            time: incoming.time,
            subject: incoming.subject,
            body: incoming.body,
        }
    }
}

impl Bus {
    /// The messages of a stream that fit one of the patterns, in their order. Never ends by itself: after a lost connection it goes on behind the last one.
    pub fn follow(
        &self,
        stream: Stream,
        patterns: Vec<String>,
        after: After,
    ) -> impl Items<Item = Recorded> + Send + use<> {
        let bus = self.clone();
        async_stream::stream! {
            let After(mut last) = after;
            loop {
                let mut link = bus.link();
                let generation = link.borrow_and_update().generation;
                match bus.open_ordered(stream, &patterns, &mut last).await {
                    Ok(messages) => {
                        let mut messages = std::pin::pin!(messages);
                        loop {
                            let message = tokio::select! {
                                message = messages.next() => message,
                                // A new connection: the consumer may be gone without a word.
                                _ = link.wait_for(|link| link.generation != generation) => None,
                            };
                            let Some(Ok(message)) = message else { break };
                            let Ok(incoming) = Incoming::from_message(&message) else { continue };
                            let recorded = Recorded::from(incoming);
                            last = recorded.sequence;
                            yield recorded;
                        }
                    }
                    Err(error) => debug!(%error, stream = stream.name(), "stream could not be opened, will try again"),
                }
                tokio::time::sleep(Duration::from_millis(100 + rand::random::<u64>() % 100)).await;
            }
        }
    }

    /// What is published from now on, without a stream: a message may be missed, so read the state as well.
    ///
    /// # Errors
    /// UNAVAILABLE where the connection is closed.
    pub async fn listen<M: Addressed>(
        &self,
    ) -> Result<impl Items<Item = M> + Send + use<M>, Fault> {
        let pattern = subject::pattern(M::SUBJECT);
        let subscription = self
            .client()
            .subscribe(pattern)
            .await
            .map_err(|error| crate::publish::unavailable(&error))?;
        Ok(subscription
            .filter_map(|message| std::future::ready(decode::<M>(&message.payload).ok())))
    }

    async fn open_ordered(
        &self,
        stream: Stream,
        patterns: &[String],
        last: &mut u64,
    ) -> Result<pull::Ordered, async_nats::Error> {
        let handle = self.jetstream().get_stream(stream.name()).await?;
        // A memory stream begins anew with the server.
        if *last > handle.cached_info().state.last_sequence {
            *last = 0;
        }
        let config = pull::OrderedConfig {
            name: Some(format!("{}-{}", self.service(), uuid::Uuid::now_v7().simple())),
            filter_subjects: patterns.to_vec(),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: *last + 1 },
            ..Default::default()
        };
        Ok(handle.create_consumer(config).await?.messages().await?)
    }
}
