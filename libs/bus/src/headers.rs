//! Headers of durable messages: CloudEvents in binary mode, trace context, and ours.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use chrono::{DateTime, Datelike, Timelike, Utc};
use muster_contracts::Durable;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::StringDeserializer;

use crate::{MessageId, trace::Trace};

pub(crate) const CE_ID: &str = "ce-id";
pub(crate) const CE_TYPE: &str = "ce-type";
pub(crate) const CE_SOURCE: &str = "ce-source";
pub(crate) const CE_TIME: &str = "ce-time";
pub(crate) const EXECUTION: &str = "Muster-Execution";
pub(crate) const TRACEPARENT: &str = "traceparent";
/// How a body is written; see `payload`.
pub(crate) const CONTENT_ENCODING: &str = "Content-Encoding";
pub(crate) const CLAIM: &str = "Muster-Claim";
pub(crate) const CLAIM_SHA256: &str = "Muster-Claim-Sha256";
pub(crate) const CLAIM_SIZE: &str = "Muster-Claim-Size";
pub(crate) const SEALED: &str = "Muster-Sealed";
/// What beside plain JSON the requester takes as a reply.
pub(crate) const ACCEPT_ENCODING: &str = "Accept-Encoding";
/// The requester wants signs of life.
pub(crate) const SIGNS: &str = "Muster-Signs";
/// A sign of life: the reply is still to come.
pub(crate) const WORKING: &str = "Muster-Working";

/// The headers of a durable message: <https://github.com/cloudevents/spec/blob/main/cloudevents/bindings/nats-protocol-binding.md>.
///
/// All but the message's id are written as one block, the value of the first of them: a map of nine headers costs twenty allocations, and a quarter of a publish. The client writes a name, a
/// colon and the value as it is, so that on the wire and for every reader they are nine headers.
pub(crate) fn durable<M: Durable>(service: &str, message: &M, id: &MessageId) -> HeaderMap {
    let mut block = Block(String::with_capacity(512));
    block.0.push_str("1.0");
    block.line(CE_ID, &[&one_line(id.as_str())]);
    block.line(CE_TYPE, &[M::NAME]);
    block.line(CE_SOURCE, &["/muster/", service]);
    block.time(Utc::now());
    block.line("Content-Type", &["application/json"]);
    block.line("Muster-Schema", &[M::NAME, "/v"]);
    block.number(M::VERSION, 1);
    let execution = message.execution_id();
    if !execution.is_empty() && matches!(one_line(execution), Cow::Borrowed(_)) {
        block.line(EXECUTION, &[execution]);
    }
    if let Some(trace) = Trace::current() {
        block.line(TRACEPARENT, &[&trace.traceparent()]);
    }
    let mut headers = HeaderMap::new();
    headers.insert(HeaderName::from_static("ce-specversion"), block.into_value());
    headers.insert(async_nats::header::NATS_MESSAGE_ID, one_line(id.as_str()).as_ref());
    headers
}

/// Several headers as the value of the one before them.
struct Block(String);

impl Block {
    /// The value may have no line break: whatever comes from outside is [`one_line`].
    fn line(&mut self, name: &str, value: &[&str]) {
        self.0.push_str("\r\n");
        self.0.push_str(name);
        self.0.push_str(": ");
        value.iter().for_each(|part| self.0.push_str(part));
    }

    /// RFC 3339 with microseconds. Digit by digit: a general formatter takes longer than all other lines together.
    fn time(&mut self, at: DateTime<Utc>) {
        self.line(CE_TIME, &[]);
        let (date, time) = (at.date_naive(), at.time());
        let parts = [
            (date.year().unsigned_abs(), 4, "-"),
            (date.month(), 2, "-"),
            (date.day(), 2, "T"),
            (time.hour(), 2, ":"),
            (time.minute(), 2, ":"),
            (time.second(), 2, "."),
            (at.timestamp_subsec_micros().min(999_999), 6, "Z"),
        ];
        for (number, digits, behind) in parts {
            self.number(number, digits);
            self.0.push_str(behind);
        }
    }

    /// A number with so many digits at least.
    fn number(&mut self, mut number: u32, digits: usize) {
        let mut text = [b'0'; 10];
        let mut used = 0;
        for place in text.iter_mut().rev() {
            if number == 0 && used >= digits {
                break;
            }
            *place = b'0' + u8::try_from(number % 10).unwrap_or(0);
            number /= 10;
            used += 1;
        }
        let shown = text.get(text.len() - used..).and_then(|text| str::from_utf8(text).ok());
        self.0.push_str(shown.unwrap_or_default());
    }

    /// A value that is read back from its serialised form is taken as it is; one that is made from a text may not have line breaks.
    fn into_value(self) -> HeaderValue {
        let text: StringDeserializer<serde::de::value::Error> = self.0.into_deserializer();
        HeaderValue::deserialize(text).unwrap_or_default()
    }
}

/// A line break would end the header.
pub(crate) fn one_line(value: &str) -> Cow<'_, str> {
    if value.bytes().any(|byte| matches!(byte, b'\r' | b'\n')) {
        Cow::Owned(value.replace(['\r', '\n'], " "))
    } else {
        Cow::Borrowed(value)
    }
}

/// Adds the headers of `more`, of which there are mostly none.
pub(crate) fn add(headers: &mut HeaderMap, more: &HeaderMap) {
    for (name, values) in more.iter() {
        for value in values {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Adds the running task's trace.
pub(crate) fn insert_trace(headers: &mut HeaderMap) {
    if let Some(trace) = Trace::current() {
        headers.insert(HeaderName::from_static(TRACEPARENT), trace.traceparent());
    }
}

/// A name that is known at build time is neither checked nor copied.
pub(crate) fn get<'a>(headers: Option<&'a HeaderMap>, name: &'static str) -> Option<&'a str> {
    let name = HeaderName::from_static(name);
    headers.and_then(|headers| headers.get(name)).map(HeaderValue::as_str)
}

/// Puts the values beside these names, as far as they are there. One look at all headers is quicker than one for each name.
pub(crate) fn find<'a>(headers: Option<&'a HeaderMap>, wanted: &mut [(&'static str, &'a str)]) {
    for (name, values) in headers.into_iter().flat_map(HeaderMap::iter) {
        let name: &str = name.as_ref();
        if let Some((_, found)) = wanted.iter_mut().find(|(wanted, _)| *wanted == name)
            && let Some(value) = values.first()
        {
            *found = value.as_str();
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::SecondsFormat;

    use super::*;

    #[test]
    fn times_and_numbers_are_written_as_formatters_write_them() {
        for text in ["2026-11-21T17:05:42.000007Z", "1999-01-02T03:04:05.123456Z"] {
            let at: DateTime<Utc> = text.parse().unwrap();
            assert_eq!(at.to_rfc3339_opts(SecondsFormat::Micros, true), text);
            let mut block = Block(String::new());
            block.time(at);
            assert_eq!(block.0, format!("\r\nce-time: {text}"));
        }
        for number in [0, 7, 10, 99, 4_294_967_295] {
            let mut block = Block(String::new());
            block.number(number, 1);
            assert_eq!(block.0, number.to_string());
        }
    }
}
