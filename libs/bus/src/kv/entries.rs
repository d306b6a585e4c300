//! Keys that come and go in great number: found by how they begin, and removed without a trace.

use async_nats::HeaderMap;
use bytes::Bytes;
use muster_contracts::Fault;
use serde::{Serialize, de::DeserializeOwned};

use super::{Kv, OPERATION, Versioned, is_gone};

/// How long the mark of a removed key stays, in seconds: the least that there is.
const MARK_TTL: &str = "1";

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// The next entry whose key begins with the tokens `under` and a dot, from this revision on, as the bucket's leader has it: `("orders.e1", ..)` is under `orders`.
    /// The order is that in which the entries were written; the next one is asked for behind this one's revision.
    ///
    /// # Errors
    /// INVALID where `under` has other characters than a key may, UNAVAILABLE where the bucket cannot be read, INTERNAL where the value is of another type.
    pub async fn next_under(
        &self,
        under: &str,
        from: u64,
    ) -> Result<Option<(String, Versioned<T>)>, Fault> {
        let stream = format!("KV_{}", self.bucket.name());
        let prefix = self.subject(under)?;
        let space = prefix.strip_suffix(under).unwrap_or_default();
        let pattern = format!("{prefix}.>");
        let mut from = from.max(1);
        while let Some(entry) = self.bus.next_message(&stream, &pattern, from).await? {
            from = entry.sequence + 1;
            if is_gone(&entry) {
                continue;
            }
            let key = entry.subject.strip_prefix(space).unwrap_or_default().to_owned();
            let value = self.decode(&key, &entry.payload)?;
            return Ok(Some((key, Versioned { value, revision: entry.sequence })));
        }
        Ok(None)
    }

    /// Removes a key so that nothing of it stays, in a bucket whose contract allows that (`allow_ttl`). Nothing happens where it is not there.
    ///
    /// # Errors
    /// INVALID where the key has other characters than it may, UNAVAILABLE where the bucket cannot be written.
    pub async fn forget(&self, key: &str) -> Result<(), Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(OPERATION, "PURGE");
        headers.insert("Nats-Rollup", "sub");
        headers.insert("Nats-TTL", MARK_TTL);
        let written = self.write_with(key, headers, Bytes::new(), None).await;
        written.map(drop).map_err(|error| self.fault_of(key, error))
    }
}
