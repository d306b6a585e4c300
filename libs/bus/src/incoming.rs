//! A message of a stream as a handler gets it, wherever it comes from: a consumer, a reader, or a dead letter that is tried again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use muster_contracts::{Code, Fault, Message};

use crate::payload::{self, Seals};
use crate::{Bus, headers};

/// A message of a stream, not yet decoded.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) subject: String,
    pub(crate) headers: Option<Arc<HeaderMap>>,
    pub(crate) body: Bytes,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// When the stream stored it.
    pub(crate) time: DateTime<Utc>,
    /// Which delivery this is, from 1.
    pub(crate) attempt: u32,
    /// What opens its sealed fields; known when it is opened.
    pub(crate) seals: Option<Seals>,
    pub(crate) repeatable: Repeatable,
}

/// What its handler says of a message: that handling it once more would change nothing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeatable(Option<Arc<AtomicBool>>);

impl Repeatable {
    /// Where it matters to somebody.
    pub(crate) fn asked() -> Self {
        Self(Some(Arc::default()))
    }

    pub(crate) fn say(&self) {
        if let Some(said) = &self.0 {
            said.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_said(&self) -> bool {
        self.0.as_ref().is_some_and(|said| said.load(Ordering::Relaxed))
    }
}

impl Incoming {
    /// As [`Incoming::from_message`], but the message loses its headers: copying them costs more than everything else here.
    pub(crate) fn take(message: &mut jetstream::Message) -> Result<Self, Fault> {
        let headers = message.message.headers.take().map(Arc::new);
        Ok(Self { headers, ..Self::from_message(message)? })
    }

    pub(crate) fn from_message(message: &jetstream::Message) -> Result<Self, Fault> {
        let info = message.info().map_err(|error| Fault::new(Code::Invalid, error.to_string()))?;
        Ok(Self {
            subject: message.subject.to_string(),
            headers: message.headers.clone().map(Arc::new),
            body: message.payload.clone(),
            sequence: info.stream_sequence,
            time: DateTime::from_timestamp_nanos(
                i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or_default(),
            ),
            attempt: u32::try_from(info.delivered).unwrap_or(u32::MAX),
            seals: None,
            repeatable: Repeatable::default(),
        })
    }

    /// Whether the body is the JSON itself.
    pub(crate) fn is_plain(&self) -> bool {
        payload::is_plain(self.headers.as_deref())
    }

    /// The same with its JSON as body, wherever that lies and however it is written. Done once, and with the body as it came.
    ///
    /// # Errors
    /// As [`Bus::open_body`] and [`Bus::seals`].
    pub(crate) async fn open(mut self, bus: &Bus) -> Result<Self, Fault> {
        self.body = bus.open_body(self.headers.as_deref(), self.body).await?;
        self.seals = bus.seals(self.headers.as_deref())?;
        Ok(self)
    }

    /// The message in an opened body.
    ///
    /// # Errors
    /// As [`payload::unseal`].
    pub(crate) fn decode<M: Message>(&self) -> Result<M, Fault> {
        payload::unseal(&self.body, self.seals.as_ref())
    }

    /// Its id. A message of a worker in another language may have none; then its place in the stream and the time when it was stored are its id.
    pub(crate) fn id(&self) -> String {
        match self.header(headers::CE_ID).or_else(|| self.header("Nats-Msg-Id")) {
            // A timer that fires again and again has one id for all its events.
            Some(id) if self.is_one_of_many() => format!("{id}-{}", self.sequence),
            Some(id) => id.to_owned(),
            // A stream in memory begins with the same sequences again.
            None => {
                let stored = self.time.timestamp_nanos_opt().unwrap_or_default();
                format!("seq-{}-{stored}", self.sequence)
            }
        }
    }

    /// Whether a schedule published it that will publish again.
    fn is_one_of_many(&self) -> bool {
        self.header("Nats-Schedule-Next").is_some_and(|next| next != "purge")
    }

    pub(crate) fn header(&self, name: &'static str) -> Option<&str> {
        headers::get(self.headers.as_deref(), name)
    }
}
