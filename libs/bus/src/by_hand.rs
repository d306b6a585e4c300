//! Messages that a person publishes: they are known by their place in the contract, not by a type.

use async_nats::HeaderMap;
use bytes::Bytes;
use chrono::{SecondsFormat, Utc};
use muster_contracts::{Code, Entry, Fault, MessageType, Stream};
use serde_json::Value;

use crate::publish::unavailable;
use crate::{Bus, MessageId, Published, headers};

impl Bus {
    /// Publishes an event or a command whose JSON somebody wrote, with the headers that a service would set. `subject` must be one of the entry's; whether the fields of the body fit it is not
    /// looked at.
    ///
    /// # Errors
    /// INVALID where the body is no such message, lacks a required field, or is of a type with fields that services encrypt; UNAVAILABLE where the stream does not acknowledge.
    pub async fn publish_by_hand(
        &self,
        entry: &Entry,
        subject: &str,
        body: &Value,
        id: &MessageId,
    ) -> Result<Published, Fault> {
        let invalid = |text: String| Fault::new(Code::Invalid, text);
        let message = MessageType::named(entry.message)
            .ok_or_else(|| invalid(format!("the contract has no message {}", entry.message)))?;
        if !message.sealed.is_empty() {
            let fields = message.sealed.join(", ");
            return Err(invalid(format!(
                "{} has fields that only services can encrypt: {fields}",
                entry.message
            )));
        }
        let bytes = Bytes::from(body.to_string());
        let missing = message
            .missing(&bytes)
            .map_err(|error| invalid(format!("the body is no {}: {error}", entry.message)))?;
        if let Some(field) = missing {
            return Err(invalid(format!("{} needs `{field}`", entry.message)));
        }
        let headers = self.headers_by_hand(entry, body, id);
        if !entry.stream.is_some_and(|stream: Stream| stream.settings().no_ack) {
            return self.publish_raw(subject.to_owned(), headers, bytes).await;
        }
        let sent = async {
            let sent = self.client().publish_with_headers(subject.to_owned(), headers, bytes).await;
            sent.map_err(|error| unavailable(&error))
        };
        self.unless_down(sent).await?;
        self.flush().await;
        Ok(Published { sequence: 0, duplicate: false })
    }

    fn headers_by_hand(&self, entry: &Entry, body: &Value, id: &MessageId) -> HeaderMap {
        let execution = body.get("execution_id").and_then(Value::as_str).unwrap_or_default();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("ce-specversion", "1.0"),
            (headers::CE_ID, id.as_str()),
            (headers::CE_TYPE, entry.message),
            (headers::CE_SOURCE, &format!("/muster/{}", self.service())),
            (headers::CE_TIME, &Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)),
            ("Content-Type", "application/json"),
            ("Muster-Schema", &format!("{}/v{}", entry.message, entry.version)),
            ("Nats-Msg-Id", id.as_str()),
            (headers::EXECUTION, execution),
        ] {
            if !value.is_empty() {
                headers.insert(name, headers::one_line(value).as_ref());
            }
        }
        headers::insert_trace(&mut headers);
        headers
    }
}
