//! Reading a stream in its order, from a sequence, for ever.

mod together;
mod unparsable;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream as Items, StreamExt};
use muster_contracts::{Addressed, Code, Fault, Message, Storage, Stream, subject};
use tracing::{debug, error, warn};

pub use self::together::Most;
use self::together::{is_wanted, together};
use self::unparsable::BROKEN;
use crate::incoming::Incoming;
use crate::ordered::Ordered;
use crate::payload::{self, Seals};
use crate::{Bus, End, headers};

/// How long a reader tries to fetch a body from the object store.
const OPEN_WITHIN: Duration = Duration::from_secs(20);
/// How often, at most: it may just be electing a leader.
const OPEN_TRIES: u32 = 3;
const OPEN_PAUSE: Duration = Duration::from_millis(500);

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
    /// JSON, with sealed fields as they are sealed; empty where it cannot be read, which [`Recorded::decode`] then tells.
    pub body: Bytes,
    /// What decoding needs beside the body.
    pub reading: Reading,
}

/// What decoding a [`Recorded`] needs beside its body.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    seals: Option<Seals>,
    fault: Option<Fault>,
}

impl Reading {
    /// That of a message whose body cannot be read.
    #[must_use]
    pub const fn failed(fault: Fault) -> Self {
        Self { seals: None, fault: Some(fault) }
    }
}

impl Recorded {
    /// Why its body cannot be read, where it cannot.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        self.reading.fault.as_ref()
    }

    /// The message itself.
    ///
    /// # Errors
    /// INVALID where the body is of another type, is damaged, or has a field that was sealed with another key; UNAVAILABLE where it lies in the object store and cannot be fetched, or its key is not known.
    pub fn decode<M: Message>(&self) -> Result<M, Fault> {
        match &self.reading.fault {
            Some(fault) => Err(fault.clone()),
            None => payload::unseal(&self.body, self.reading.seals.as_ref()),
        }
    }
}

impl From<Incoming> for Recorded {
    fn from(incoming: Incoming) -> Self {
        let mut known = [
            (headers::CE_ID, ""),
            (headers::CE_TYPE, ""),
            (headers::CE_SOURCE, ""),
            (headers::EXECUTION, ""),
        ];
        headers::find(incoming.headers.as_deref(), &mut known);
        let [id, message_type, source, execution_id] = known.map(|(_, value)| value.to_owned());
        Self {
            id: if id.is_empty() { id } else { incoming.id() },
            message_type,
            source,
            execution_id,
            sequence: incoming.sequence,
            time: incoming.time,
            reading: Reading { seals: incoming.seals, fault: None },
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
        self.read_on((stream, None), patterns, after, |_subject| true)
    }

    /// As [`Bus::follow`], many at a time, for those who write them down together: what came within a tenth of a second, or so many as `most` says. It ends where the stream is another than the one that
    /// had this end: what follows has other sequences.
    ///
    /// The whole stream is read, and what fits no pattern passed over: with many patterns the server would look for the next message among all subjects.
    pub fn follow_together(
        &self,
        stream: Stream,
        patterns: Vec<String>,
        behind: End,
        most: Most,
    ) -> impl Items<Item = Vec<Recorded>> + Send + use<> {
        let wanted = move |subject: &str| is_wanted(&patterns, subject);
        let after = After(behind.sequence);
        let only = Some(behind.created);
        together(self.read_on((stream, only), Vec::new(), after, wanted), most)
    }

    /// The messages that fit one of the patterns, and that are wanted; only as long as the stream is the one that was created then, where that is said.
    fn read_on<W: Fn(&str) -> bool + Send + 'static>(
        &self,
        (stream, only): (Stream, Option<i64>),
        patterns: Vec<String>,
        after: After,
        is_wanted: W,
    ) -> impl Items<Item = Recorded> + Send + use<W> {
        let bus = self.clone();
        async_stream::stream! {
            let (After(mut last), mut known, mut broken) = (after, only, 0);
            loop {
                let mut link = bus.link();
                let generation = link.borrow_and_update().generation;
                match bus.open_ordered(stream, &patterns, (&mut last, &mut known)).await {
                    Ok(_anew) if only.is_some() && known != only => return,
                    Ok(mut messages) => {
                        loop {
                            let message = tokio::select! {
                                biased;
                                message = messages.next() => message,
                                // A new connection: the consumer may be gone without a word.
                                _ = link.wait_for(|link| link.generation != generation) => Err("a new connection".into()),
                            };
                            let mut message = match message {
                                Ok(message) => message,
                                Err(error) => {
                                    debug!(%error, stream = stream.name(), "stream ended, will open it again");
                                    break;
                                }
                            };
                            let Ok(incoming) = Incoming::take(&mut message) else { continue };
                            (last, broken) = (incoming.sequence, 0);
                            if is_wanted(&incoming.subject) {
                                yield bus.recorded(incoming).await;
                            }
                        }
                    }
                    Err(error) => debug!(%error, stream = stream.name(), "stream could not be opened, will try again"),
                }
                tokio::time::sleep(Duration::from_millis(100 + rand::random::<u64>() % 100)).await;
                if link.borrow().generation != generation {
                    broken += 1;
                }
                // Of who reads only some subjects nobody can say which message it was.
                if broken >= BROKEN
                    && patterns.is_empty()
                    && let Ok(Some(passed)) = bus.unparsable_behind(stream, last).await
                {
                    error!(stream = stream.name(), sequence = passed.sequence, "a message that no connection survives is passed over");
                    (last, broken) = (passed.sequence, 0);
                    if is_wanted(&passed.subject) {
                        yield passed;
                    }
                }
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
        self.listen_on(subject::pattern(M::SUBJECT)).await
    }

    /// As [`Bus::listen`], only what has these values in its subject.
    ///
    /// # Errors
    /// INVALID where a value cannot be a token of the subject, UNAVAILABLE where the connection is closed.
    pub async fn listen_to<M: Addressed>(
        &self,
        fields: &[(&'static str, &str)],
    ) -> Result<impl Items<Item = M> + Send + use<M>, Fault> {
        let subject = subject::address::<M>(fields)
            .map_err(|error| Fault::new(Code::Invalid, error.to_string()))?;
        self.listen_on(subject).await
    }

    async fn listen_on<M: Addressed>(
        &self,
        subject: String,
    ) -> Result<impl Items<Item = M> + Send + use<M>, Fault> {
        let subscription = self
            .client()
            .subscribe(subject)
            .await
            .map_err(|error| crate::publish::unavailable(&error))?;
        let bus = self.clone();
        Ok(subscription.filter_map(move |message| {
            let bus = bus.clone();
            async move { bus.read::<M>(message.headers.as_ref(), message.payload).await.ok() }
        }))
    }

    /// A message that cannot be read is still one of the stream: whoever decodes it learns why.
    pub(crate) async fn recorded(&self, incoming: Incoming) -> Recorded {
        if incoming.is_plain() {
            return Recorded::from(incoming);
        }
        let mut tries = 1;
        let opening = async {
            loop {
                match incoming.clone().open(self).await {
                    Err(fault) if fault.code == Code::Unavailable && tries < OPEN_TRIES => {
                        tries += 1;
                    }
                    opened => return opened,
                }
                tokio::time::sleep(OPEN_PAUSE).await;
            }
        };
        let fault = match tokio::time::timeout(OPEN_WITHIN, opening).await {
            Ok(Ok(opened)) => return Recorded::from(opened),
            Ok(Err(fault)) => fault,
            Err(_elapsed) => Fault::new(
                Code::Unavailable,
                format!("its body could not be fetched within {} s", OPEN_WITHIN.as_secs()),
            ),
        };
        warn!(subject = incoming.subject, sequence = incoming.sequence, error = %fault, "message cannot be read");
        let mut recorded = Recorded::from(Incoming { body: Bytes::new(), ..incoming });
        recorded.reading = Reading::failed(fault);
        recorded
    }

    /// `known` is when the stream was created: one that was made anew is read from its beginning.
    async fn open_ordered(
        &self,
        stream: Stream,
        patterns: &[String],
        (last, known): (&mut u64, &mut Option<i64>),
    ) -> Result<Ordered, async_nats::Error> {
        let end = self.end_of(stream).await?;
        let is_anew = known.replace(end.created).is_some_and(|created| created != end.created);
        if is_anew {
            *last = 0;
        } else if *last > end.sequence {
            // A stream in memory begins anew with its server. Of several replicas on disk, one that has less is behind, and its word would repeat everything.
            if stream.settings().storage == Storage::File && end.replicas > 1 {
                return Err(format!("{} was read further than its leader is", stream.name()).into());
            }
            *last = 0;
        }
        Ordered::open(self, stream.name(), patterns, *last + 1).await
    }
}
