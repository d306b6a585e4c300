//! Ids of messages: the same parts are the same id, and the same id is the same message.

use sha2::{Digest, Sha256};

/// The id of a durable message. The broker and the consumers drop a second message with the same id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MessageId(String);

impl MessageId {
    /// An id that nobody else has: for a message that has no cause to derive its id from.
    #[must_use]
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The id that follows from these parts: a second try is the same try.
    #[must_use]
    pub fn derived<I>(parts: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut hash = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Self(hex(&hash.finalize(), 16))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for MessageId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

/// The first `bytes` of a hash, hexadecimal.
pub(crate) fn hex(hash: &[u8], bytes: usize) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0'));
    hash.iter().take(bytes).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_are_the_same_id_and_others_are_not() {
        assert_eq!(MessageId::derived(["a", "b"]), MessageId::derived(["a", "b"]));
        assert_ne!(MessageId::derived(["a", "b"]), MessageId::derived(["ab", ""]));
        assert_eq!(MessageId::derived(["a"]).as_str().len(), 32);
    }
}
