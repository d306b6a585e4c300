//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07) and what it decides.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// The longest key, in characters.
pub(crate) const MAX_KEY: usize = 255;

/// Ids made from keys are under this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d75_7374_6572_4e61_b5e1_0000_0000_0001);

/// A key that cannot be one.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "the Idempotency-Key has {0} characters, but a key has 1 to {MAX_KEY} printable ASCII characters, such as a UUID"
)]
pub(crate) struct KeyError(usize);

/// A client's name for one request: however often it comes, it is done once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key(String);

impl Key {
    /// Reads the header: a structured-field string (`"abc"`), or the bare characters.
    pub(crate) fn parse(header: &str) -> Result<Self, KeyError> {
        let text = header.trim();
        let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
        let length = text.chars().count();
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if (1..=MAX_KEY).contains(&length) && printable {
            Ok(Self(text.to_owned()))
        } else {
            Err(KeyError(length))
        }
    }

    /// The id that belongs to the key in this scope. The same key gives the same id on every replica.
    pub(crate) fn id(&self, scope: &str) -> Uuid {
        Uuid::new_v5(&NAMESPACE, format!("{scope}\n{}", self.0).as_bytes())
    }

    /// The key as the client wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// SHA-256 of the parts, hexadecimal. Parts cannot run into each other.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What is remembered of a start: enough to publish the very same command again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartRecord {
    /// Digest of the request.
    pub(crate) request: String,
    pub(crate) workflow: String,
    pub(crate) version: String,
    /// Digest of the definition.
    pub(crate) digest: String,
    pub(crate) at: chrono::DateTime<chrono::Utc>,
    /// Whose it is; empty: the platform's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tenant: String,
    /// The virtual key that it was started with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) key_id: String,
}

/// What is remembered of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UploadRecord {
    /// Digest of the request.
    pub(crate) request: String,
    pub(crate) document_id: String,
    pub(crate) at: chrono::DateTime<chrono::Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_bare_keys_are_the_same_key() {
        assert_eq!(Key::parse("\"abc\""), Key::parse(" abc "));
        assert_eq!(Key::parse(""), Err(KeyError(0)));
        assert_eq!(Key::parse("\"\""), Err(KeyError(0)));
        assert_eq!(Key::parse(&"k".repeat(256)), Err(KeyError(256)));
        assert!(Key::parse(&"k".repeat(255)).is_ok());
        assert!(Key::parse("a\tb").is_err());
    }

    #[test]
    fn a_key_means_something_else_in_another_scope() {
        let key = Key::parse("k").unwrap();
        assert_eq!(key.id("executions"), key.id("executions"));
        assert_ne!(key.id("executions"), key.id("documents"));
    }

    #[test]
    fn parts_of_a_digest_do_not_run_into_each_other() {
        assert_ne!(digest([b"ab".as_slice(), b"c"]), digest([b"a".as_slice(), b"bc"]));
    }
}
