//! The events of a stream, bounded in size.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};

use super::dialect::Framing;
use super::refusal::told;

/// The most bytes of one stream: a reply of the largest size in the smallest pieces.
const MAX_STREAM: usize = 256 << 20;
/// The most bytes of one event, so that a line without end does not fill the memory.
const MAX_EVENT: usize = 4 << 20;

/// Why a stream ends before its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is larger than any reply can be.
    TooLarge,
    BrokeOff(String),
}

/// The data of each event. An error ends it.
pub(super) fn events<B: AsRef<[u8]> + Send + 'static>(
    framing: Framing,
    bytes: impl Stream<Item = reqwest::Result<B>> + Send + 'static,
) -> BoxStream<'static, Result<String, Flaw>> {
    let mut guard = Guard::default();
    let bytes = bytes.map(move |bytes| guard.check(bytes)).boxed();
    let events = Events { bytes, splitter: Splitter::new(framing), ended: false };
    // The end is asked for again where the connection's own end is waited for.
    stream::unfold(events, |mut events| async move { events.next().await.map(|one| (one, events)) })
        .fuse()
        .boxed()
}

/// A stream that is taken apart.
struct Events<B> {
    bytes: BoxStream<'static, Result<B, Flaw>>,
    splitter: Splitter,
    ended: bool,
}

impl<B: AsRef<[u8]>> Events<B> {
    async fn next(&mut self) -> Option<Result<String, Flaw>> {
        loop {
            if let Some(event) = self.splitter.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.ended {
                return None;
            }
            let taken = match self.bytes.next().await {
                Some(Ok(bytes)) => self.splitter.take(bytes.as_ref()),
                Some(Err(flaw)) => Err(flaw),
                None => {
                    self.ended = true;
                    // The last event may have no end.
                    self.splitter.take(b"\n\n")
                }
            };
            if let Err(flaw) = taken {
                self.ended = true;
                return Some(Err(flaw));
            }
        }
    }
}

/// Takes bytes apart into events, looking at each byte once.
struct Splitter {
    framing: Framing,
    /// Whole events.
    ready: VecDeque<String>,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// The lines of an event so far.
    data: Option<String>,
}

impl Splitter {
    fn new(framing: Framing) -> Self {
        Self { framing, ready: VecDeque::new(), rest: Vec::new(), data: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Flaw> {
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            self.rest.extend_from_slice(piece);
            if pieces.peek().is_none() {
                break;
            }
            let line = std::mem::take(&mut self.rest);
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(&line));
            match self.framing {
                Framing::Lines if line.trim().is_empty() => {}
                Framing::Lines => self.ready.push_back(line.into_owned()),
                Framing::Events => self.line(&line)?,
            }
        }
        Ok(())
    }

    /// A line of server-sent events: the names of events and the signs of life say nothing that the data does not.
    fn line(&mut self, line: &str) -> Result<(), Flaw> {
        if line.is_empty() {
            self.ready.extend(self.data.take());
        } else if let Some(data) = line.strip_prefix("data:") {
            let data = data.strip_prefix(' ').unwrap_or(data);
            match &mut self.data {
                Some(all) => {
                    all.push('\n');
                    all.push_str(data);
                }
                none => *none = Some(data.to_owned()),
            }
        }
        match &self.data {
            Some(data) if data.len() > MAX_EVENT => Err(Flaw::TooLarge),
            _ => Ok(()),
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
    fn check<B: AsRef<[u8]>>(&mut self, bytes: reqwest::Result<B>) -> Result<B, Flaw> {
        let bytes = bytes.map_err(|error| Flaw::BrokeOff(told(&error)))?;
        let piece = bytes.as_ref();
        self.total += piece.len();
        self.event = match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => piece.len() - at,
            None => self.event + piece.len(),
        };
        if self.total > MAX_STREAM || self.event > MAX_EVENT {
            return Err(Flaw::TooLarge);
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
