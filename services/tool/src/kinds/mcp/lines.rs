//! Lines of a process that have a largest size, and that are messages.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// A stream that breaks off where a line is larger than `most`, or where so many bytes in a row are in lines that cannot be messages.
pub(super) struct Lines<R> {
    inner: R,
    most: usize,
    /// Bytes since the last line end.
    since: usize,
    /// Whether the line begins like a message.
    is_message: bool,
    /// Bytes since the last line that did.
    noise: usize,
}

impl<R> Lines<R> {
    pub(super) const fn new(inner: R, most: usize) -> Self {
        Self { inner, most, since: 0, is_message: false, noise: 0 }
    }

    fn hear(&mut self, new: &[u8]) {
        for (index, part) in new.split(|byte| *byte == b'\n').enumerate() {
            if index > 0 {
                self.since = 0;
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
        Lines::new(&b"{bc\n{efg\nh"[..], 4).read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "{bc\n{efg\nh");
        let large = Lines::new(&b"{bc\n{efgh"[..], 4).read_to_string(&mut read).await.unwrap_err();
        assert!(large.to_string().contains("larger than 4 bytes"), "{large}");
    }

    #[tokio::test]
    async fn lines_that_are_no_messages_end_the_stream_where_they_are_too_many() {
        let mut read = String::new();
        let fine = &b"ab\ncd\n{e}\nfg\nhi\n\n{}\n"[..];
        Lines::new(fine, 4).read_to_string(&mut read).await.unwrap();
        let noise = Lines::new(&b"{}\nab\ncd\ne\n"[..], 4).read_to_string(&mut read).await;
        let noise = noise.unwrap_err().to_string();
        assert!(noise.contains("more than 4 bytes are no messages"), "{noise}");
    }
}
