//! A message of a stream as a handler gets it, wherever it comes from: a consumer, a reader, or a dead letter that is tried again.

use async_nats::{HeaderMap, jetstream};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use muster_contracts::{Code, Fault};

use crate::headers;

/// A message of a stream, not yet decoded.
#[derive(Clone, Debug)]
pub(crate) struct Incoming {
    pub(crate) subject: String,
    pub(crate) headers: Option<HeaderMap>,
    pub(crate) body: Bytes,
    /// Its place in the stream.
    pub(crate) sequence: u64,
    /// When the stream stored it.
    pub(crate) time: DateTime<Utc>,
    /// Which delivery this is, from 1.
    pub(crate) attempt: u32,
}

impl Incoming {
    pub(crate) fn from_message(message: &jetstream::Message) -> Result<Self, Fault> {
        let info = message.info().map_err(|error| Fault::new(Code::Invalid, error.to_string()))?;
        Ok(Self {
            subject: message.subject.to_string(),
            headers: message.headers.clone(),
            body: message.payload.clone(),
            sequence: info.stream_sequence,
            time: DateTime::from_timestamp_nanos(
                i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or_default(),
            ),
            attempt: u32::try_from(info.delivered).unwrap_or(u32::MAX),
        })
    }

    /// Its id. A message of a worker in another language may have none; then its place in the stream is its id.
    pub(crate) fn id(&self) -> String {
        self.header(headers::CE_ID)
            .or_else(|| self.header("Nats-Msg-Id"))
            .map_or_else(|| format!("seq-{}", self.sequence), str::to_owned)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        headers::get(self.headers.as_ref(), name)
    }
}
