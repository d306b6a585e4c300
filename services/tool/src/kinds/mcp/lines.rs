//! Lines of a process that have a largest size, that are messages, and that are no more than it waits for answers to.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many lines are heard of a process that does not take what it is told: each may be a request, whose answer waits in memory.
const MOST_UNHEARD: usize = 10_000;

/// Whether a process does not take what it is told. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Deaf(Arc<Ears>);

#[derive(Default)]
struct Ears {
    closed: AtomicBool,
    /// It is not heard any more: what waits to be told would wait for ever.
    given_up: AtomicBool,
    waiting: AtomicWaker,
}

/// What a process is told; notes whether it takes it.
pub(super) struct Told<W> {
    inner: W,
    deaf: Deaf,
}

impl<W> Told<W> {
    pub(super) const fn new(inner: W, deaf: Deaf) -> Self {
        Self { inner, deaf }
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Told<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.deaf.0.waiting.register(cx.waker());
        if self.deaf.0.given_up.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, buffer);
        self.deaf.0.closed.store(written.is_pending(), Ordering::Relaxed);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A stream that breaks off where a line is larger than `most`, where so many bytes in a row are in lines that cannot be messages,
/// or where too many lines come of a process that is [`Deaf`].
pub(super) struct Lines<R> {
    inner: R,
    most: usize,
    /// Bytes since the last line end.
    since: usize,
    /// Whether the line begins like a message.
    is_message: bool,
    /// Bytes since the last line that did.
    noise: usize,
    deaf: Deaf,
    /// Lines since the process took something.
    unheard: usize,
}

impl<R> Lines<R> {
    pub(super) const fn new(inner: R, most: usize, deaf: Deaf) -> Self {
        Self { inner, most, since: 0, is_message: false, noise: 0, deaf, unheard: 0 }
    }

    fn hear(&mut self, new: &[u8]) {
        let is_deaf = self.deaf.0.closed.load(Ordering::Relaxed);
        if !is_deaf {
            self.unheard = 0;
        }
        for (index, part) in new.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.since = 0;
                self.unheard += usize::from(is_deaf);
            }
            if self.since == 0 && !part.is_empty() {
                self.is_message = part.starts_with(b"{");
            }
            self.since += part.len();
            self.noise = if self.is_message { 0 } else { self.noise + part.len() };
        }
    }

    fn is_too_much(&self) -> Option<String> {
        let most = self.most;
        if self.since > most {
            return Some(format!("a line is larger than {most} bytes"));
        }
        if self.unheard > MOST_UNHEARD {
            return Some(format!("more than {MOST_UNHEARD} messages came while it read nothing"));
        }
        (self.noise > most).then(|| format!("more than {most} bytes are no messages"))
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lines<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.hear(buffer.filled().get(before..).unwrap_or_default());
            if let Some(text) = self.is_too_much() {
                self.deaf.0.given_up.store(true, Ordering::Release);
                self.deaf.0.waiting.wake();
                // Nothing is read where there is an error.
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::other(text)));
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[tokio::test]
    async fn a_line_that_is_too_large_ends_the_stream() {
        let mut read = String::new();
        Lines::new(&b"{bc\n{efg\nh"[..], 4, Deaf::default())
            .read_to_string(&mut read)
            .await
            .unwrap();
        assert_eq!(read, "{bc\n{efg\nh");
        let large = Lines::new(&b"{bc\n{efgh"[..], 4, Deaf::default())
            .read_to_string(&mut read)
            .await
            .unwrap_err();
        assert!(large.to_string().contains("larger than 4 bytes"), "{large}");
    }

    #[tokio::test]
    async fn lines_that_are_no_messages_end_the_stream_where_they_are_too_many() {
        let mut read = String::new();
        let fine = &b"ab\ncd\n{e}\nfg\nhi\n\n{}\n"[..];
        Lines::new(fine, 4, Deaf::default()).read_to_string(&mut read).await.unwrap();
        let noise =
            Lines::new(&b"{}\nab\ncd\ne\n"[..], 4, Deaf::default()).read_to_string(&mut read).await;
        let noise = noise.unwrap_err().to_string();
        assert!(noise.contains("more than 4 bytes are no messages"), "{noise}");
    }

    #[tokio::test]
    async fn many_lines_of_a_process_that_reads_nothing_end_the_stream() {
        let deaf = Deaf::default();
        let many = "{}\n".repeat(MOST_UNHEARD + 1);
        let mut read = String::new();
        Lines::new(many.as_bytes(), 4, deaf.clone()).read_to_string(&mut read).await.unwrap();
        // A pipe that nobody reads takes four bytes.
        let (pipe, _unread) = tokio::io::duplex(4);
        let mut told = Told::new(pipe, deaf.clone());
        tokio::select! {
            biased;
            _ = tokio::io::AsyncWriteExt::write_all(&mut told, b"too much") => unreachable!(),
            () = std::future::ready(()) => {}
        }
        let ended = Lines::new(many.as_bytes(), 4, deaf).read_to_string(&mut read).await;
        let ended = ended.unwrap_err().to_string();
        assert!(ended.contains("while it read nothing"), "{ended}");
    }
}
