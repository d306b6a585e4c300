//! Headers of durable messages: CloudEvents in binary mode, trace context, and ours.

use std::borrow::Cow;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use chrono::{SecondsFormat, Utc};
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
    block.line(CE_ID, &[id.as_str()]);
    block.line(CE_TYPE, &[M::NAME]);
    block.line(CE_SOURCE, &["/muster/", service]);
    block.line(CE_TIME, &[&Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)]);
    block.line("Content-Type", &["application/json"]);
    block.line("Muster-Schema", &[M::NAME, "/v", &M::VERSION.to_string()]);
    if !message.execution_id().is_empty() && !message.execution_id().contains(['\r', '\n']) {
        block.line(EXECUTION, &[message.execution_id()]);
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
    fn line(&mut self, name: &str, value: &[&str]) {
        self.0.push_str("\r\n");
        self.0.push_str(name);
        self.0.push_str(": ");
        for part in value {
            self.0.push_str(&one_line(part));
        }
    }

    /// A value that is read back from its serialised form is taken as it is; one that is made from a text may not have line breaks.
    fn into_value(self) -> HeaderValue {
        let text: StringDeserializer<serde::de::value::Error> = self.0.into_deserializer();
        HeaderValue::deserialize(text).unwrap_or_default()
    }
}

/// A line break would end the header.
pub(crate) fn one_line(value: &str) -> Cow<'_, str> {
    if value.contains(['\r', '\n']) {
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
