//! The built-in embedder: feature hashing of words and pairs of words. It needs no model, no key and no network.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use muster_text::hashing;

use super::{Embedder, Embedding, Error};

/// Vectors of 256 numbers that match words, not meaning.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hashing;

impl Embedder for Hashing {
    fn name(&self) -> &'static str {
        hashing::NAME
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Vec<Embedding>, Error>> {
        async move {
            let mut all = Vec::with_capacity(texts.len());
            for few in texts.chunks(16) {
                all.extend(few.iter().map(|text| hashing::vector(text)));
                // The largest document keeps a thread busy for a second; others want it too.
                tokio::task::yield_now().await;
            }
            Ok(all)
        }
        .boxed()
    }
}
