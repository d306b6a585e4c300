//! Reading what a stream has, from a sequence or a time, without touching those who consume it.

use std::time::{Duration, SystemTime};

use async_nats::StatusCode;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::{self, consumer};
use chrono::{DateTime, Utc};
use futures::{Stream as Items, StreamExt};
use muster_contracts::{Code, Fault, Stream};
use serde_json::json;
use tokio::time::Instant;
use tracing::debug;

use crate::Bus;
use crate::follow::{After, Recorded};
use crate::incoming::Incoming;
use crate::journal::unreadable;
use crate::ordered::Ordered;

/// How long a reader tries to go on where nothing comes.
const PATIENCE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(100);
/// How long a consumer that fetches one message lives when its process ends in between.
const LEFT_BEHIND: Duration = Duration::from_secs(5);
/// Longer than that: another process may have left one.
const FETCH_DEADLINE: Duration = Duration::from_secs(10);
/// How long a message may be on its way to the replica that is read.
const BEHIND: Duration = Duration::from_secs(1);
const ANSWER_WAIT: Duration = Duration::from_secs(2);

/// Where to begin to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At this sequence; 1 is the beginning.
    Sequence(u64),
    /// At the first message that was stored at or after this time.
    Time(DateTime<Utc>),
    /// Behind the last message.
    Now,
}

/// Where a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The sequence of the newest message.
    pub sequence: u64,
    /// When the stream was created, in nanoseconds since 1970: one that was made anew has other messages under the same sequences.
    pub created: i64,
    /// How many servers have it.
    pub replicas: usize,
}

impl Start {
    fn policy(self) -> DeliverPolicy {
        match self {
            Self::Sequence(sequence) => {
                DeliverPolicy::ByStartSequence { start_sequence: sequence.max(1) }
            }
            Self::Time(time) => {
                DeliverPolicy::ByStartTime { start_time: SystemTime::from(time).into() }
            }
            Self::Now => DeliverPolicy::New,
        }
    }
}

impl Bus {
    /// The messages of a stream from somewhere on that fit one of the patterns (none: all), in their order, and up to the end that the stream has now. No consumer is touched; a lost connection is bridged.
    ///
    /// The item is a fault where the stream cannot be read for 15 s (UNAVAILABLE); nothing comes behind it.
    pub fn replay(
        &self,
        stream: Stream,
        from: Start,
        patterns: Vec<String>,
    ) -> impl Items<Item = Result<Recorded, Fault>> + Send + use<> {
        let bus = self.clone();
        async_stream::try_stream! {
            let end = bus.end_of(stream).await?.sequence;
            let (mut policy, mut progress) = (from.policy(), Instant::now());
            'reading: loop {
                let mut messages = match bus.open_at(stream, &patterns, policy).await {
                    Ok(messages) if messages.is_empty() => break,
                    Ok(messages) => messages,
                    Err(fault) if progress.elapsed() > PATIENCE => Err(fault)?,
                    Err(_passing) => {
                        tokio::time::sleep(PAUSE).await;
                        continue;
                    }
                };
                loop {
                    let message = match messages.next().await {
                        Ok(message) => message,
                        Err(error) => {
                            debug!(%error, stream = stream.name(), "stream ended, will open it again");
                            break;
                        }
                    };
                    let waiting = message.info().map(|info| info.pending).unwrap_or_default();
                    let Ok(incoming) = Incoming::from_message(&message) else { continue };
                    if incoming.sequence > end {
                        break 'reading;
                    }
                    let recorded = bus.recorded(incoming).await;
                    let sequence = recorded.sequence;
                    (policy, progress) = (Start::Sequence(sequence + 1).policy(), Instant::now());
                    yield recorded;
                    if waiting == 0 || sequence == end {
                        break 'reading;
                    }
                }
                if progress.elapsed() > PATIENCE {
                    Err(Fault::new(Code::Unavailable, format!("stream {} stays silent", stream.name())))?;
                }
            }
        }
    }

    /// As [`Bus::replay`], and then whatever comes, for ever.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read.
    pub async fn tail(
        &self,
        stream: Stream,
        from: Start,
        patterns: Vec<String>,
    ) -> Result<impl Items<Item = Recorded> + Send + use<>, Fault> {
        let behind = match from {
            Start::Sequence(sequence) => sequence.saturating_sub(1),
            Start::Now => self.end_of(stream).await?.sequence,
            Start::Time(_) => {
                let end = self.end_of(stream).await?.sequence;
                let mut old = Box::pin(self.replay(stream, from, patterns.clone()));
                match old.next().await {
                    Some(first) => first?.sequence - 1,
                    None => end,
                }
            }
        };
        Ok(self.follow(stream, patterns, After(behind)))
    }

    /// Where a stream ends now.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read.
    pub async fn end_of(&self, stream: Stream) -> Result<End, Fault> {
        let state = async {
            let handle = self.jetstream().get_stream(stream.name()).await;
            let handle = handle.map_err(|error| unreadable(stream.name(), &error))?;
            let info = handle.cached_info();
            let created = info.created.unix_timestamp_nanos();
            let created = i64::try_from(created).unwrap_or_default();
            let replicas = info.config.num_replicas;
            Ok(End { sequence: info.state.last_sequence, created, replicas })
        };
        self.unless_down(state).await
    }

    async fn open_at(
        &self,
        stream: Stream,
        patterns: &[String],
        policy: DeliverPolicy,
    ) -> Result<Ordered, Fault> {
        let open = async {
            Ordered::open_at(self, stream.name(), patterns, policy)
                .await
                .map_err(|error| unreadable(stream.name(), error.as_ref()))
        };
        self.unless_down(open).await
    }

    /// The message with this sequence, if it fits a pattern: read by a consumer of this name, so that NATS can limit a service to what it may read. Nothing where it is gone.
    pub(crate) async fn fetch(
        &self,
        stream: Stream,
        name: &str,
        patterns: &[String],
        sequence: u64,
    ) -> Result<Option<jetstream::Message>, Fault> {
        let started = Instant::now();
        loop {
            let fetched =
                self.unless_down(self.try_fetch(stream.name(), name, patterns, sequence)).await;
            match fetched {
                Err(fault) if started.elapsed() < FETCH_DEADLINE => {
                    debug!(stream = stream.name(), sequence, %fault, "message could not be fetched, will try again");
                    tokio::time::sleep(PAUSE + PAUSE.mul_f64(rand::random())).await;
                }
                // A replica of the stream may be behind.
                Ok(None) if started.elapsed() < BEHIND => tokio::time::sleep(PAUSE).await,
                fetched => return fetched,
            }
        }
    }

    async fn try_fetch(
        &self,
        stream: &str,
        name: &str,
        patterns: &[String],
        sequence: u64,
    ) -> Result<Option<jetstream::Message>, Fault> {
        let mut config = pull::Config {
            name: Some(name.to_owned()),
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: sequence },
            ack_policy: consumer::AckPolicy::None,
            inactive_threshold: LEFT_BEHIND,
            memory_storage: true,
            num_replicas: 1,
            ..pull::Config::default()
        };
        match patterns {
            [pattern] => config.filter_subject.clone_from(pattern),
            patterns => config.filter_subjects = patterns.to_vec(),
        }
        let jetstream = self.jetstream();
        // Strict: where another process fetches just now, its consumer stays as it is.
        let created = jetstream.create_consumer_strict_on_stream(config, stream).await;
        created.map_err(|error| unreadable(stream, &error))?;
        let answer = self.pull_one(stream, name).await;
        if let Err(error) = jetstream.delete_consumer_from_stream(name, stream).await {
            debug!(stream, name, %error, "consumer could not be removed, the server does it");
        }
        let message = answer.map_err(|error| unreadable(stream, error.as_ref()))?;
        match message.status {
            None | Some(StatusCode::OK) => {}
            Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Ok(None),
            Some(status) => {
                let text = format!("stream {stream} cannot be read: {status}");
                return Err(Fault::new(Code::Unavailable, text));
            }
        }
        let message = jetstream::Message { message, context: jetstream.clone() };
        let found = message.info().is_ok_and(|info| info.stream_sequence == sequence);
        Ok(found.then_some(message))
    }
    /// The answer of a consumer that is asked for its next message. An inbox of its own: what comes has the subject of the message, not that of an answer.
    async fn pull_one(
        &self,
        stream: &str,
        name: &str,
    ) -> Result<async_nats::Message, async_nats::Error> {
        let inbox = self.client().new_inbox();
        let mut answers = self.client().subscribe(inbox.clone()).await?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
        let question = json!({ "batch": 1, "no_wait": true }).to_string();
        self.client().publish_with_reply(subject, inbox, question.into()).await?;
        let answer = tokio::time::timeout(ANSWER_WAIT, answers.next()).await?;
        answer.ok_or_else(|| "the subscription has ended".into())
    }
}
