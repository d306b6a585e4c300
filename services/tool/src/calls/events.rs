//! Streams of server-sent events whose data are JSON.

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use crate::outbound::header_text;

/// Reads a stream as it comes.
#[derive(Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: String,
    /// The last byte was a carriage return: a line feed after it ends no other line.
    returned: bool,
}

impl Events {
    /// The messages that these bytes bring to their end. Data that are no JSON are none.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Value> {
        let mut messages = Vec::new();
        for byte in bytes {
            let returned = std::mem::replace(&mut self.returned, *byte == b'\r');
            match byte {
                b'\n' if returned => {}
                b'\n' | b'\r' => messages.extend(self.end_line()),
                other => self.line.push(*other),
            }
        }
        messages
    }

    fn end_line(&mut self) -> Option<Value> {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            let data = std::mem::take(&mut self.data);
            return serde_json::from_str(&data).ok();
        }
        let line = String::from_utf8_lossy(&line);
        let data = line.strip_prefix("data:")?;
        if !self.data.is_empty() {
            self.data.push('\n');
        }
        self.data.push_str(data.strip_prefix(' ').unwrap_or(data));
        None
    }
}

/// Whether an answer is a stream of events.
pub(crate) fn is_stream(headers: &HeaderMap) -> bool {
    kind(headers) == "text/event-stream"
}

/// The content type without its parameters.
pub(super) fn kind(headers: &HeaderMap) -> String {
    let kind = headers.get(CONTENT_TYPE).map(header_text).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Events;

    #[test]
    fn a_stream_is_the_same_however_it_is_cut() {
        let text = "\u{feff}: hello\r\n\r\nid: 1\ndata: {\"a\":\ndata: 1}\n\ndata:[2]\r\rdata: no\n\nevent: x\n\ndata: 3";
        for size in 1..text.len() {
            let mut events = Events::default();
            let found: Vec<_> =
                text.as_bytes().chunks(size).flat_map(|chunk| events.push(chunk)).collect();
            assert_eq!(found, [json!({"a": 1}), json!([2])], "{size}");
        }
    }
}
