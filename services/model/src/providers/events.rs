//! The events of a stream, bounded in size.

use std::collections::VecDeque;

use eventsource_stream::Eventsource;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use super::dialect::Framing;
use super::refusal::told;

/// The most bytes of one stream: a reply of the largest size in the smallest pieces.
const MAX_STREAM: usize = 256 << 20;
/// The most bytes of one event, so that a line without end does not fill the memory.
const MAX_EVENT: usize = 4 << 20;

/// The data of each event. An error ends it.
pub(super) fn events<B: AsRef<[u8]> + Send + 'static>(
    framing: Framing,
    bytes: impl Stream<Item = reqwest::Result<B>> + Send + 'static,
) -> BoxStream<'static, Result<String, String>> {
    let bytes =
        bytes.scan(Guard::default(), |guard, bytes| std::future::ready(Some(guard.check(bytes))));
    match framing {
        Framing::Events => bytes
            .eventsource()
            .map(|event| event.map(|event| event.data).map_err(|error| broke_off(&error)))
            .boxed(),
        Framing::Lines => lines(bytes).boxed(),
    }
}

fn broke_off(error: &impl std::fmt::Display) -> String {
    format!("the stream broke off: {error}")
}

/// What is left of a stream of lines.
struct Lines<S> {
    bytes: S,
    ready: VecDeque<String>,
    rest: Vec<u8>,
    ended: bool,
}

fn lines<B: AsRef<[u8]> + Send>(
    bytes: impl Stream<Item = Result<B, String>> + Send + 'static,
) -> impl Stream<Item = Result<String, String>> + Send {
    let bytes = bytes.map(|bytes| bytes.map(|bytes| bytes.as_ref().to_vec())).boxed();
    let lines = Lines { bytes, ready: VecDeque::new(), rest: Vec::new(), ended: false };
    stream::unfold(lines, |mut lines| async move { lines.next().await.map(|line| (line, lines)) })
}

impl<S: Stream<Item = Result<Vec<u8>, String>> + Unpin> Lines<S> {
    async fn next(&mut self) -> Option<Result<String, String>> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.ended {
                return None;
            }
            match self.bytes.next().await {
                Some(Ok(bytes)) => self.take(&bytes),
                Some(Err(error)) => {
                    self.ended = true;
                    return Some(Err(broke_off(&error)));
                }
                None => {
                    self.ended = true;
                    // The last line may have no end.
                    self.take(b"\n");
                }
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.rest.extend_from_slice(piece);
            if pieces.peek().is_none() {
                break;
            }
            let line = String::from_utf8_lossy(&std::mem::take(&mut self.rest)).into_owned();
            if !line.trim().is_empty() {
                self.ready.push_back(line);
            }
        }
    }
}

/// Ends a stream that has no end.
#[derive(Default)]
struct Guard {
    total: usize,
    event: usize,
}

impl Guard {
    fn check<B: AsRef<[u8]>>(&mut self, bytes: reqwest::Result<B>) -> Result<B, String> {
        let bytes = bytes.map_err(|error| told(&error))?;
        let piece = bytes.as_ref();
        self.total += piece.len();
        self.event = match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => piece.len() - at,
            None => self.event + piece.len(),
        };
        if self.total > MAX_STREAM || self.event > MAX_EVENT {
            return Err("the stream is larger than any reply can be".to_owned());
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_refused() {
        let mut guard = Guard::default();
        let piece = || Ok(vec![b'x'; 1 << 20]);
        assert!((0..4).all(|_| guard.check(piece()).is_ok()));
        assert!(guard.check(piece()).is_err());
        let mut guard = Guard::default();
        assert!(
            (0..8).all(|_| guard
                .check(piece())
                .and_then(|_| guard.check(Ok(b"\n".to_vec())))
                .is_ok())
        );
    }

    #[tokio::test]
    async fn events_and_lines_are_the_same_however_they_are_split() {
        let lines = "{\"a\":\"\u{e4}\u{1f980}\"}\n\n{\"b\":1}";
        let events =
            "data: {\"a\":\"\u{e4}\u{1f980}\"}\r\n\r\n: ping\n\nevent: x\ndata: {\"b\":1}\n\n";
        for (framing, text) in [(Framing::Lines, lines), (Framing::Events, events)] {
            for at in 0..text.len() {
                let (first, second) = text.as_bytes().split_at(at);
                let bytes = [first.to_vec(), second.to_vec()].map(reqwest::Result::Ok);
                let found: Vec<_> =
                    super::events(framing, stream::iter(bytes)).map(Result::unwrap).collect().await;
                assert_eq!(found, ["{\"a\":\"\u{e4}\u{1f980}\"}", "{\"b\":1}"], "{framing:?} {at}");
            }
        }
    }
}
