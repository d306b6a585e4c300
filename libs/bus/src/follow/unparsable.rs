//! Messages that break the connection of whoever receives them: nats-server keeps headers and subjects that its client cannot parse.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use muster_contracts::{Code, Fault, Stream};
use serde::Deserialize;
use serde_json::json;

use super::{Reading, Recorded};
use crate::Bus;
use crate::journal::unreadable;
use crate::request::question;

/// So many connections in a row that broke before a message came are no chance.
pub(super) const BROKEN: u32 = 3;

/// How long the server has to answer.
const WITHIN: Duration = Duration::from_secs(5);

/// What the server answers, as JSON that any client can parse.
#[derive(Deserialize)]
struct Answer {
    message: Option<Stored>,
}

#[derive(Deserialize)]
struct Stored {
    subject: String,
    seq: u64,
    #[serde(default)]
    hdrs: String,
    #[serde(default)]
    data: String,
    time: DateTime<Utc>,
}

impl Bus {
    /// The next message behind a sequence, where it is one that no connection survives.
    pub(super) async fn unparsable_behind(
        &self,
        stream: Stream,
        last: u64,
    ) -> Result<Option<Recorded>, Fault> {
        let subject = format!("$JS.API.STREAM.MSG.GET.{}", stream.name());
        let asked = json!({ "seq": last + 1, "next_by_subj": ">" }).to_string();
        let asked = question(asked.into(), async_nats::HeaderMap::new());
        // Who may not ask gets no answer.
        let asked = tokio::time::timeout(WITHIN, self.clone().try_once(subject.into(), asked));
        let answer = asked.await.map_err(|late| unreadable(stream.name(), &late))??;
        let answer: Answer = serde_json::from_slice(&answer.payload)
            .map_err(|error| unreadable(stream.name(), &error))?;
        let Some(stored) = answer.message else { return Ok(None) };
        let headers = BASE64_STANDARD.decode(&stored.hdrs).unwrap_or_default();
        // In JSON, what is no UTF-8 is another letter.
        if !stored.subject.contains('\u{fffd}') && is_parsable(&headers) {
            return Ok(None);
        }
        let body = Bytes::from(BASE64_STANDARD.decode(&stored.data).unwrap_or_default());
        let text = "its headers or its subject are none that a client of NATS can parse";
        Ok(Some(Recorded {
            subject: stored.subject,
            sequence: stored.seq,
            id: String::new(),
            message_type: String::new(),
            source: String::new(),
            time: stored.time,
            execution_id: String::new(),
            body,
            reading: Reading::failed(Fault::new(Code::Invalid, text)),
        }))
    }
}

/// Whether async-nats takes these headers.
fn is_parsable(headers: &[u8]) -> bool {
    if headers.is_empty() {
        return true;
    }
    let Ok(text) = std::str::from_utf8(headers) else { return false };
    let mut lines = text.lines();
    let version = lines.next().and_then(|line| line.strip_prefix("NATS/1.0"));
    let Some(status) = version.map(str::trim) else { return false };
    let status = status.split_once(' ').map_or(status, |(status, _)| status.trim());
    let is_status = status.is_empty() || status.parse::<async_nats::StatusCode>().is_ok();
    is_status
        && lines.filter(|line| !line.is_empty()).all(|line| {
            line.starts_with(char::is_whitespace)
                || line
                    .split_once(':')
                    .is_some_and(|(name, _)| name.parse::<async_nats::HeaderName>().is_ok())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_break_a_connection_are_told_from_others() {
        for good in
            ["", "NATS/1.0\r\n\r\n", "NATS/1.0\r\na: b\r\n c\r\n\r\n", "NATS/1.0 100 idle\r\n"]
        {
            assert!(is_parsable(good.as_bytes()), "{good:?}");
        }
        for bad in [
            &b"NATS/1.0\r\nno colon\r\n\r\n"[..],
            b"NATS/1.0\r\na b: c\r\n",
            b"NATS/1.0\r\na: \xff\r\n",
            b"a: b\r\n",
            b"NATS/1.0 x\r\n",
        ] {
            assert!(!is_parsable(bad), "{bad:?}");
        }
    }
}
