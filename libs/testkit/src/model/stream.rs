//! How the events of a reply go over the wire: paused, split, cut, endless.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};

use super::answer::{Answer, Breakage};

const FLUSH: Duration = Duration::from_millis(20);

/// How a dialect frames its events.
pub(super) struct Framing {
    pub(super) content_type: &'static str,
    /// An event of this text.
    pub(super) frame: fn(&str) -> String,
    /// The text of an error in the middle of a stream.
    pub(super) error: fn(&str) -> String,
}

/// Counts streams whose client went before their end.
#[derive(Clone, Default)]
pub(super) struct HangUps(Arc<AtomicUsize>);

impl HangUps {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

struct Watch {
    hang_ups: HangUps,
    ended: bool,
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.ended {
            self.hang_ups.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Part = io::Result<Bytes>;

/// The response with these events.
pub(super) fn respond(
    answer: &Answer,
    events: Vec<String>,
    framing: &Framing,
    hang_ups: HangUps,
) -> Response {
    let events = broken(answer, events, framing);
    let pause = answer.pause;
    let paused = events.then(move |part| async move {
        // Before an error, what stands before it must have left: hyper drops what it has not yet flushed.
        let pause = if part.is_err() { pause.max(FLUSH) } else { pause };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        part
    });
    let split = match answer.split {
        None => paused.boxed(),
        Some(size) => paused.flat_map(move |part| stream::iter(cut(part, size))).boxed(),
    };
    let mut response = Response::new(Body::from_stream(watched(split, hang_ups)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(framing.content_type));
    response
}

fn cut(part: Part, size: usize) -> Vec<Part> {
    match part {
        Ok(bytes) => bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect(),
        Err(error) => vec![Err(error)],
    }
}

fn watched(parts: BoxStream<'static, Part>, hang_ups: HangUps) -> impl Stream<Item = Part> + Send {
    let watch = Watch { hang_ups, ended: false };
    stream::unfold((parts, watch), |(mut parts, mut watch)| async move {
        let part = parts.next().await;
        watch.ended = !matches!(part, Some(Ok(_)));
        // Each piece leaves by itself.
        tokio::task::yield_now().await;
        part.map(|part| (part, (parts, watch)))
    })
}

fn broken(answer: &Answer, events: Vec<String>, framing: &Framing) -> BoxStream<'static, Part> {
    let Some((after, breakage)) = &answer.breakage else {
        return stream::iter(events.into_iter().map(said)).boxed();
    };
    let kept: Vec<String> = events.into_iter().take(*after).collect();
    let again = kept.last().cloned().unwrap_or_default();
    let kept = stream::iter(kept.into_iter().map(said));
    match breakage {
        Breakage::End => kept.boxed(),
        Breakage::Cut => {
            let error = io::Error::other("the script cuts the connection here");
            kept.chain(stream::iter([Err(error)])).boxed()
        }
        Breakage::Silence => kept.chain(stream::pending()).boxed(),
        Breakage::Error(message) => {
            let event = (framing.frame)(&(framing.error)(message));
            kept.chain(stream::iter([said(event)])).boxed()
        }
        Breakage::Garbage(text) => kept.chain(stream::iter([said((framing.frame)(text))])).boxed(),
        Breakage::Endless => {
            let again = Bytes::from(again);
            kept.chain(stream::repeat_with(move || Ok(again.clone()))).boxed()
        }
    }
}

fn said(event: String) -> Part {
    Ok(Bytes::from(event))
}

/// A server-sent event without a name.
pub(super) fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}
