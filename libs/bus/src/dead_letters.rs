//! Messages that nobody could handle: kept with their reason, never lost.

use std::collections::HashMap;

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use chrono::Utc;
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::{Fault, Stream, now, subject};

use crate::journal::unreadable;
use crate::publish::decode;
use crate::{Bus, MessageId, headers};

/// The dead letters of the platform.
#[derive(Clone)]
pub struct DeadLetters {
    bus: Bus,
}

impl Bus {
    /// The dead letters.
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters { bus: self.clone() }
    }

    /// Records a message that `consumer` gives up.
    pub(crate) async fn bury(
        &self,
        consumer: &str,
        message: &async_nats::jetstream::Message,
        fault: &Fault,
    ) -> Result<(), Fault> {
        let info = message
            .info()
            .map_err(|error| Fault::new(muster_contracts::Code::Internal, error.to_string()))?;
        let first = chrono::DateTime::from_timestamp_nanos(
            i64::try_from(info.published.unix_timestamp_nanos()).unwrap_or_default(),
        );
        let mut kept = HashMap::new();
        for (name, values) in message.headers.iter().flat_map(async_nats::HeaderMap::iter) {
            if let Some(value) = values.first() {
                kept.insert(name.to_string(), value.to_string());
            }
        }
        let letter = DeadLetter {
            stream: info.stream.to_owned(),
            consumer: consumer.to_owned(),
            sequence: info.stream_sequence,
            subject: message.subject.to_string(),
            code: fault.code.name().to_owned(),
            reason: fault.message.clone(),
            deliveries: u32::try_from(info.delivered).unwrap_or(u32::MAX),
            first_at: now(first),
            last_at: now(Utc::now()),
            headers: kept,
            body: message.payload.clone().to_vec(),
            message_id: headers::get(message.headers.as_ref(), headers::CE_ID)
                .unwrap_or_default()
                .to_owned(),
        };
        let id = MessageId::derived([info.stream, consumer, &info.stream_sequence.to_string()]);
        self.publish(&letter, &id).await.map(|_published| ())
    }
}

impl DeadLetters {
    /// The oldest `limit` dead letters with their sequences.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read.
    pub async fn list(&self, limit: usize) -> Result<Vec<(u64, DeadLetter)>, Fault> {
        let name = Stream::Dlq.name();
        let pattern = subject::pattern(<DeadLetter as muster_contracts::Addressed>::SUBJECT);
        let stream = self
            .bus
            .jetstream()
            .get_stream_no_info(name)
            .await
            .map_err(|error| unreadable(name, &error))?;
        let mut letters = Vec::new();
        let mut from = 1;
        while letters.len() < limit {
            match stream
                .raw_message_builder()
                .sequence(from)
                .next_by_subject(pattern.as_str())
                .send()
                .await
            {
                Ok(message) => {
                    from = message.sequence + 1;
                    letters.push((message.sequence, decode(&message.payload)?));
                }
                Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(unreadable(name, &error)),
            }
        }
        Ok(letters)
    }
}
