//! Compression: zstd (RFC 8878), named by the header `Content-Encoding`.

use std::cell::RefCell;

use async_nats::HeaderMap;
use bytes::Bytes;
use muster_contracts::{Code, Fault};
use tracing::warn;
use zstd::bulk::{Compressor, Decompressor};

use crate::headers::CONTENT_ENCODING;

/// Smaller bodies stay as they are: any language reads them, and there is little to gain.
pub(super) const ABOVE: usize = 8 * 1024;
/// The name of the only coding.
pub(crate) const ZSTD: &str = "zstd";
/// Work on more than this would hold up the other tasks of a thread for milliseconds.
const ASIDE: usize = 256 * 1024;
/// The level with the best use of time for JSON.
const LEVEL: i32 = 1;

/// The body as it is kept: compressed where it is large and becomes smaller, and then the header says so.
pub(super) async fn smaller(body: Bytes, headers: &mut HeaderMap) -> Bytes {
    if body.len() <= ABOVE {
        return body;
    }
    let plain = body.clone();
    match aside(body.len(), move || compressed(&plain)).await {
        Ok(small) if small.len() < body.len() => {
            headers.insert(CONTENT_ENCODING, ZSTD);
            small.into()
        }
        Ok(_larger) => body,
        Err(error) => {
            warn!(%error, "a body could not be compressed, it is sent as it is");
            body
        }
    }
}

/// The body in front of this coding. It never becomes larger than `largest` bytes, however small it is here.
pub(super) async fn expand(body: Bytes, coding: &str, largest: usize) -> Result<Bytes, Fault> {
    if coding.eq_ignore_ascii_case("identity") {
        return Ok(body);
    }
    if !coding.eq_ignore_ascii_case(ZSTD) {
        return Err(Fault::new(
            Code::Invalid,
            format!("the body's Content-Encoding is {coding:?}, but must be zstd or identity"),
        ));
    }
    let size = body.len();
    let expanded = aside(size.saturating_mul(8), move || {
        let mut plain = expanded(&body, largest)?;
        plain.shrink_to_fit();
        Ok(plain)
    });
    expanded.await.map(Bytes::from).map_err(|error| {
        Fault::new(
            Code::Invalid,
            format!("the body is not zstd, or is more than {largest} bytes without it: {error}"),
        )
    })
}

thread_local! {
    /// zstd's working memory is several times as large as most bodies: each thread makes its own once.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compressed(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    // Large ones are done on threads that come and go, and would leave large memory behind.
    if plain.len() > ASIDE {
        return zstd::bulk::compress(plain, LEVEL);
    }
    COMPRESSOR.with_borrow_mut(|kept| {
        let mut compressor = match kept.take() {
            Some(compressor) => compressor,
            None => Compressor::new(LEVEL)?,
        };
        let small = compressor.compress(plain)?;
        // Behind an error it is made anew.
        *kept = Some(compressor);
        Ok(small)
    })
}

fn expanded(body: &[u8], largest: usize) -> std::io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let mut decompressor = match kept.take() {
            Some(decompressor) => decompressor,
            None => Decompressor::new()?,
        };
        let plain = decompressor.decompress(body, largest)?;
        *kept = Some(decompressor);
        Ok(plain)
    })
}

/// Runs the work here where it is small, and on a thread for such work where it is not.
async fn aside<T: Send + 'static>(
    size: usize,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    if size <= ASIDE {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::LARGEST_WRITTEN;

    fn repeated(size: usize) -> Bytes {
        br#"{"text":"once upon a time"}"#.iter().copied().cycle().take(size).collect()
    }

    #[tokio::test]
    async fn a_large_body_becomes_smaller_and_comes_back_as_it_was() {
        for size in [ABOVE + 1, 512 * 1024, 4 << 20] {
            let mut headers = HeaderMap::new();
            let body = repeated(size);
            let small = smaller(body.clone(), &mut headers).await;
            assert!(small.len() < size / 10);
            assert_eq!(headers.get(CONTENT_ENCODING).unwrap().as_str(), ZSTD);
            assert_eq!(expand(small, ZSTD, LARGEST_WRITTEN).await.unwrap(), body);
        }
    }

    #[tokio::test]
    async fn a_small_body_and_one_that_does_not_shrink_stay_as_they_are() {
        let noise: Bytes = std::iter::repeat_with(rand::random::<u8>).take(ABOVE * 2).collect();
        for body in [repeated(ABOVE), noise] {
            let mut headers = HeaderMap::new();
            assert_eq!(smaller(body.clone(), &mut headers).await, body);
            assert!(headers.is_empty());
        }
    }

    #[tokio::test]
    async fn a_bomb_is_refused_before_it_is_large() {
        // 1 GiB of zeros is some 32 KiB of zstd; a stream does not say its size in front.
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..1024 {
            std::io::Write::write_all(&mut encoder, &zeros).unwrap();
        }
        let bomb = Bytes::from(encoder.finish().unwrap());
        assert!(bomb.len() < 200_000, "{}", bomb.len());
        let honest = Bytes::from(zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap());
        for body in [bomb, honest] {
            let fault = expand(body, ZSTD, LARGEST_WRITTEN).await.unwrap_err();
            assert_eq!(fault.code, Code::Invalid);
            assert!(fault.message.contains("16777216"), "{}", fault.message);
        }
    }

    #[tokio::test]
    async fn what_is_not_zstd_is_refused_by_name() {
        let fault = expand(repeated(10), "br", LARGEST_WRITTEN).await.unwrap_err();
        assert_eq!(
            fault.message,
            "the body's Content-Encoding is \"br\", but must be zstd or identity"
        );
        for body in [repeated(100), Bytes::from_static(&[0x28, 0xb5, 0x2f, 0xfd])] {
            let fault = expand(body, "zstd", LARGEST_WRITTEN).await;
            assert!(fault.is_err_and(|fault| fault.code == Code::Invalid));
        }
    }
}
