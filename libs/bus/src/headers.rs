//! Headers of durable messages: CloudEvents in binary mode, trace context, and ours.

use async_nats::{HeaderMap, HeaderName};
use chrono::{SecondsFormat, Utc};
use muster_contracts::Durable;

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
pub(crate) fn durable<M: Durable>(service: &str, message: &M, id: &MessageId) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: &str| headers.insert(HeaderName::from_static(name), value);
    insert("ce-specversion", "1.0");
    insert(CE_ID, id.as_str());
    insert(CE_TYPE, M::NAME);
    insert(CE_SOURCE, &format!("/muster/{service}"));
    insert(CE_TIME, &Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
    insert("Content-Type", "application/json");
    insert("Muster-Schema", &format!("{}/v{}", M::NAME, M::VERSION));
    headers.insert(async_nats::header::NATS_MESSAGE_ID, id.as_str());
    if !message.execution_id().is_empty() && !message.execution_id().contains(['\r', '\n']) {
        headers.insert(HeaderName::from_static(EXECUTION), message.execution_id());
    }
    insert_trace(&mut headers);
    headers
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
    headers.and_then(|headers| headers.get(name)).map(async_nats::HeaderValue::as_str)
}
