//! Writing a dead letter: by the service that gives the message up, or after its crash, when the broker has told that it gave up.

use std::collections::HashMap;
use std::sync::Arc;

use async_nats::{HeaderMap, HeaderName, HeaderValue, jetstream};
use chrono::{DateTime, Utc};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::{Fault, now, time};
use serde::Deserialize;

use crate::incoming::{Incoming, Repeatable};
use crate::line::Line;
use crate::publish::subject_of;
use crate::{Bus, MessageId, headers};

/// The code of a letter whose message nobody gave up: its handler was cut off each time.
pub(super) const MAX_DELIVERIES: &str = "MAX_DELIVERIES";

/// What the broker tells about a message that has run out of deliveries.
#[derive(Deserialize)]
pub(super) struct Advisory {
    pub(super) stream: String,
    pub(super) consumer: String,
    pub(super) stream_seq: u64,
    #[serde(default)]
    pub(super) deliveries: u32,
    #[serde(default)]
    timestamp: DateTime<Utc>,
}

impl Bus {
    /// Records a message that a consumer gives up. Returns the letter's sequence.
    pub(crate) async fn bury(
        &self,
        line: &Line,
        message: &jetstream::Message,
        fault: &Fault,
    ) -> Result<u64, Fault> {
        let incoming = Incoming::from_message(message)?;
        let letter = DeadLetter {
            code: fault.code.name().to_owned(),
            reason: fault.message.clone(),
            deliveries: incoming.attempt,
            ..letter_of(line, &incoming)
        };
        self.write(&letter).await
    }

    /// Records a message that the broker gave up, because each handler ended without a word; nothing where its consumer knows it is gone from the stream.
    pub(super) async fn bury_lost(&self, line: &Line, advisory: &Advisory) -> Result<u64, Fault> {
        let (stream, name) = (line.of_stream(), format!("{}-lost", line.durable()));
        let found = self.fetch(stream, &name, line.patterns(), advisory.stream_seq).await?;
        let mut reason = format!(
            "delivered {} times and never answered: the process of its handler ended each time",
            advisory.deliveries
        );
        let letter = match &found {
            Some(message) => letter_of(line, &Incoming::from_message(message)?),
            None => {
                reason.push_str("; the message itself is no longer in its stream");
                DeadLetter {
                    stream: advisory.stream.clone(),
                    consumer: advisory.consumer.clone(),
                    service: self.service().to_owned(),
                    sequence: advisory.stream_seq,
                    first_at: now(advisory.timestamp),
                    last_at: now(advisory.timestamp),
                    ..DeadLetter::default()
                }
            }
        };
        let (code, deliveries) = (MAX_DELIVERIES.to_owned(), advisory.deliveries);
        self.write(&DeadLetter { code, reason, deliveries, ..letter }).await
    }

    /// Writes a letter. There is one for each message and consumer, and its id is always the same, so that its readers act once.
    pub(super) async fn write(&self, letter: &DeadLetter) -> Result<u64, Fault> {
        let place = letter.sequence.to_string();
        let parts = [letter.stream.as_str(), letter.consumer.as_str(), place.as_str()];
        let (mut headers, body) = self.pack(letter, &MessageId::derived(parts)).await?;
        if letter.replaces != 0 {
            // For the broker it is another message, but the same for every try to write it.
            let older = letter.replaces.to_string();
            let id = MessageId::derived(parts.into_iter().chain([older.as_str()]));
            headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
        }
        Ok(self.publish_raw(subject_of(letter)?, headers, body).await?.sequence)
    }
}

fn letter_of(line: &Line, incoming: &Incoming) -> DeadLetter {
    let mut kept = HashMap::new();
    for (name, values) in incoming.headers.iter().flat_map(|headers| headers.iter()) {
        if let Some(value) = values.first() {
            kept.insert(name.to_string(), value.to_string());
        }
    }
    DeadLetter {
        stream: line.stream().to_owned(),
        consumer: line.durable().to_owned(),
        service: line.bus().service().to_owned(),
        sequence: incoming.sequence,
        subject: incoming.subject.clone(),
        first_at: now(incoming.time),
        last_at: now(Utc::now()),
        headers: kept,
        body: incoming.body.to_vec(),
        message_id: incoming.header(headers::CE_ID).unwrap_or_default().to_owned(),
        ..DeadLetter::default()
    }
}

impl Incoming {
    /// The message of a letter as it came for the last time, and once more.
    pub(super) fn from_letter(letter: &DeadLetter) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in &letter.headers {
            // They were headers, so they can be headers.
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
            {
                headers.insert(name, value);
            }
        }
        Self {
            subject: letter.subject.clone(),
            headers: (!headers.is_empty()).then(|| Arc::new(headers)),
            body: letter.body.clone().into(),
            sequence: letter.sequence,
            time: time(letter.first_at.as_ref()),
            attempt: letter.deliveries.saturating_add(1),
            seals: None,
            repeatable: Repeatable::default(),
        }
    }
}
