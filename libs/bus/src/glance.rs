//! What there is, without reading it: the headers of messages. And streams that come into being with their first message.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::DeliverPolicy;
use chrono::{DateTime, Utc};
use muster_contracts::permissions::on_demand;
use muster_contracts::{Durable, Fault, Stream, subject};
use tokio::time::Instant;
use tracing::debug;

use crate::ensure::{self, existing};
use crate::incoming::Incoming;
use crate::journal::unreadable;
use crate::ordered::Ordered;
use crate::{Bus, desired, headers};

/// How long a stream that cannot be read is tried again.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
/// How many bytes a body has that did not travel.
const SIZE: &str = "Nats-Msg-Size";

/// A message of a stream without its body.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Its subject.
    pub subject: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub time: DateTime<Utc>,
    /// The execution that it belongs to; empty where it belongs to none.
    pub execution_id: String,
    /// The size of its body as it is stored, which may be compressed, wherever that lies.
    pub bytes: u64,
    headers: Option<HeaderMap>,
}

impl Glance {
    /// A header of [`Bus::publish_noted`].
    #[must_use]
    pub fn note(&self, name: &'static str) -> Option<&str> {
        headers::get(self.headers.as_ref(), name)
    }

    fn of(incoming: Incoming) -> Self {
        let text = |name| incoming.header(name).unwrap_or_default();
        let number = |name| text(name).parse::<u64>().ok();
        Self {
            execution_id: text(headers::EXECUTION).to_owned(),
            bytes: number(headers::CLAIM_SIZE).or_else(|| number(SIZE)).unwrap_or_default(),
            subject: incoming.subject,
            sequence: incoming.sequence,
            time: incoming.time,
            headers: incoming.headers.map(|headers| (*headers).clone()),
        }
    }
}

/// Which messages of a stream are looked at.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The stream.
    pub stream: Stream,
    /// Their subjects, with wildcards; at least one.
    pub patterns: Vec<String>,
    /// Only the newest of each subject.
    pub newest: bool,
    /// Only those behind this sequence.
    pub after: u64,
    /// How many at most.
    pub limit: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Glances {
    /// In the order of the stream.
    pub found: Vec<Glance>,
    /// There may be more behind the last of them.
    pub more: bool,
}

impl Bus {
    /// The headers of messages of which `keep` says yes. Their bodies stay where they are. Nothing where the stream is not there yet because nobody has published to it.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read for 15 s.
    pub async fn glance(
        &self,
        kept: &Kept,
        keep: impl Fn(&Glance) -> bool + Send,
    ) -> Result<Glances, Fault> {
        if kept.limit == 0 || kept.patterns.is_empty() || !self.is_there(kept.stream).await? {
            return Ok(Glances::default());
        }
        let begun = Instant::now();
        loop {
            match self.unless_down(self.try_to_glance(kept, &keep)).await {
                Err(fault) if begun.elapsed() < PATIENCE => {
                    debug!(stream = kept.stream.name(), %fault, "headers could not be read, will try again");
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
    }

    async fn try_to_glance(
        &self,
        kept: &Kept,
        keep: &(impl Fn(&Glance) -> bool + Send),
    ) -> Result<Glances, Fault> {
        let policy = match kept.newest {
            // The newest of a subject may lie anywhere: what is too old is passed over below.
            true => DeliverPolicy::LastPerSubject,
            false => DeliverPolicy::ByStartSequence { start_sequence: kept.after + 1 },
        };
        let name = kept.stream.name();
        let failed = |error: async_nats::Error| unreadable(name, error.as_ref());
        let mut messages =
            Ordered::open_headers(self, name, &kept.patterns, policy).await.map_err(failed)?;
        let mut glances = Glances::default();
        while !messages.is_empty() {
            let message = messages.next().await.map_err(failed)?;
            let waiting = message.info().map(|info| info.pending).unwrap_or_default();
            if let Ok(incoming) = Incoming::from_message(&message) {
                let glance = Glance::of(incoming);
                if glance.sequence > kept.after && keep(&glance) {
                    glances.found.push(glance);
                }
            }
            glances.more = waiting > 0;
            if waiting == 0 || glances.found.len() == kept.limit {
                break;
            }
        }
        Ok(glances)
    }

    /// Creates a stream that comes into being with its first message, where it is not there. Others are there since the service started.
    ///
    /// # Errors
    /// UNAVAILABLE where the server cannot be asked, or has no room for it.
    pub async fn provide(&self, stream: Stream) -> Result<(), Fault> {
        let settings = &self.inner.settings;
        if !on_demand(stream) || !settings.creates_streams {
            return Ok(());
        }
        let wanted = desired::of_stream(stream, settings);
        self.unless_down(ensure::ensure(self.jetstream(), &wanted)).await.map(drop)
    }

    /// The stream that keeps the message with this subject; none where it is not there yet.
    pub(crate) async fn kept_in<M: Durable>(&self, subject: &str) -> Result<Option<Stream>, Fault> {
        let stream = stream_of::<M>(subject);
        Ok(self.is_there(stream).await?.then_some(stream))
    }

    async fn is_there(&self, stream: Stream) -> Result<bool, Fault> {
        if !on_demand(stream) {
            return Ok(true);
        }
        self.unless_down(existing(self.jetstream(), stream.name()))
            .await
            .map(|found| found.is_some())
    }
}

/// Of the streams that share a message, the one with this subject.
pub(crate) fn stream_of<M: Durable>(address: &str) -> Stream {
    let keeps = |stream: &&Stream| {
        stream.subjects().iter().any(|pattern| subject::covers(pattern, address))
    };
    if let [only] = M::STREAMS {
        *only
    } else {
        M::STREAMS.iter().find(keeps).copied().unwrap_or(M::STREAM)
    }
}
