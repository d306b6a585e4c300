//! Lines of a process that have a largest size.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// A stream that breaks off where a line is larger than `most`.
pub(super) struct Lines<R> {
    inner: R,
    most: usize,
    /// Bytes since the last line end.
    since: usize,
}

impl<R> Lines<R> {
    pub(super) const fn new(inner: R, most: usize) -> Self {
        Self { inner, most, since: 0 }
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
            let new = buffer.filled().get(before..).unwrap_or_default();
            self.since = match new.iter().rposition(|byte| *byte == b'\n') {
                Some(end) => new.len() - end - 1,
                None => self.since + new.len(),
            };
            if self.since > self.most {
                // Nothing is read where there is an error.
                buffer.set_filled(before);
                let text = format!("a line is larger than {} bytes", self.most);
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
        Lines::new(&b"abc\ndefg\nh"[..], 4).read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "abc\ndefg\nh");
        let large = Lines::new(&b"abc\ndefgh"[..], 4).read_to_string(&mut read).await.unwrap_err();
        assert!(large.to_string().contains("larger than 4 bytes"), "{large}");
    }
}
