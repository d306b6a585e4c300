//! Watching the keys of a bucket.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use futures::Stream as Items;
use muster_contracts::Fault;
use muster_contracts::permissions::key_prefix;
use serde::{Serialize, de::DeserializeOwned};
use tracing::debug;

use super::{Kv, OPERATION, Versioned};
use crate::incoming::Incoming;
use crate::ordered::Ordered;

/// How long after a lost connection or a lost consumer the next try begins.
const PAUSE: Duration = Duration::from_millis(100);
/// In an entry that the broker made when its key was too old.
const MARKER: &str = "Nats-Marker-Reason";

/// What became of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange<T> {
    /// The key.
    pub key: String,
    /// Its value; none where it was removed.
    pub value: Option<Versioned<T>>,
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Kv<T> {
    /// The keys that begin with `prefix`: first as they are, then each change, in order. Never ends by itself: after a lost connection, a restart of the server
    /// or a deleted consumer it goes on behind the last change. Of changes that follow each other while it is away it tells the last.
    ///
    /// An item is an INTERNAL fault where a value is of another type; the watch goes on.
    pub fn watch(
        &self,
        prefix: &str,
    ) -> impl Items<Item = Result<KeyChange<T>, Fault>> + Send + use<T> {
        // Not a clone, which would ask it of the values too.
        let kv = Self { bus: self.bus.clone(), ..*self };
        let prefix = prefix.to_owned();
        async_stream::stream! {
            let space =
                format!("$KV.{}.{}", kv.bucket.name(), key_prefix(kv.bucket, kv.bus.service()));
            let mut last = None;
            loop {
                let mut link = kv.bus.link();
                let generation = link.borrow_and_update().generation;
                match kv.changes(&space, last).await {
                    Ok(mut changes) => loop {
                        let change = tokio::select! {
                            change = changes.next() => change,
                            _ = link.wait_for(|link| link.generation != generation) => Err("a new connection".into()),
                        };
                        let message = match change {
                            Ok(message) => message,
                            Err(error) => {
                                debug!(%error, bucket = kv.bucket.name(), "watch ended, will begin again");
                                break;
                            }
                        };
                        let Ok(entry) = Incoming::from_message(&message) else { continue };
                        last = Some(entry.sequence);
                        if let Some(key) = entry.subject.strip_prefix(&space)
                            && key.starts_with(&prefix)
                        {
                            yield kv.change(key, &entry);
                        }
                    },
                    Err(error) => debug!(%error, bucket = kv.bucket.name(), "watch could not begin, will try again"),
                }
                tokio::time::sleep(PAUSE + PAUSE.mul_f64(rand::random())).await;
            }
        }
    }

    async fn changes(&self, space: &str, last: Option<u64>) -> Result<Ordered, async_nats::Error> {
        let policy = last.map_or(DeliverPolicy::LastPerSubject, |last| {
            DeliverPolicy::ByStartSequence { start_sequence: last + 1 }
        });
        let stream = format!("KV_{}", self.bucket.name());
        Ordered::open_at(&self.bus, &stream, &[format!("{space}>")], policy).await
    }

    fn change(&self, key: &str, entry: &Incoming) -> Result<KeyChange<T>, Fault> {
        let gone = entry.header(OPERATION).is_some() || entry.header(MARKER).is_some();
        let value = match gone {
            true => None,
            false => {
                Some(Versioned { value: self.decode(key, &entry.body)?, revision: entry.sequence })
            }
        };
        Ok(KeyChange { key: key.to_owned(), value })
    }
}
