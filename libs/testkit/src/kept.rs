//! Everything that a server keeps, for tests that look for what must not be there.

use anyhow::{Context as _, Result};
use async_nats::jetstream;
use futures::TryStreamExt as _;

use crate::{NatsServer, or_fail};

/// The largest message after decompression, in bytes.
const LARGEST: usize = 64 << 20;

impl NatsServer {
    /// Every message of every stream, bucket and object store: its subject, its headers, and its body both as it is and without compression.
    ///
    /// # Panics
    /// When the server cannot be read.
    pub async fn kept(&self) -> Vec<u8> {
        or_fail(self.try_kept().await)
    }

    async fn try_kept(&self) -> Result<Vec<u8>> {
        let jetstream = jetstream::new(self.client("operator").await);
        let mut kept = Vec::new();
        let names: Vec<String> = jetstream.stream_names().try_collect().await?;
        for name in names {
            let mut stream: jetstream::stream::Stream =
                jetstream.get_stream(&name).await.with_context(|| format!("the stream {name}"))?;
            let state = stream.info().await?.state.clone();
            for sequence in state.first_sequence..=state.last_sequence {
                let Ok(message) = stream.get_raw_message(sequence).await else { continue };
                kept.extend_from_slice(message.subject.as_bytes());
                kept.extend_from_slice(format!("{:?}", message.headers).as_bytes());
                if let Ok(plain) = zstd::bulk::decompress(&message.payload, LARGEST) {
                    kept.extend(plain);
                }
                kept.extend_from_slice(&message.payload);
            }
        }
        Ok(kept)
    }
}
