//! Sealed fields: encrypted by the sender, opened by the reader, unknown to everything between.
//!
//! A sealed field of the JSON is the string `sealed:v1:<key id>:<base64url of nonce and ciphertext>`; inside is the JSON of the field's value. The cipher is XChaCha20-Poly1305 with a
//! random nonce; message type, field and message id are its associated data, so that a value cannot be moved to another field, another message or another type.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use muster_contracts::{Code, Fault, Message};
use serde_json::{Map, Value};

use crate::SettingsError;

/// The setting that has the keys.
pub(crate) const SETTING: &str = "MUSTER_SEAL_KEYS";
/// The value of the header of messages with sealed fields.
pub(super) const VERSION: &str = "v1";
const PREFIX: &str = "sealed:v1:";
const NONCE: usize = 24;

/// The keys that seal fields. The first one seals; every one opens. Its debug form has the ids only.
#[derive(Clone, Default)]
pub struct SealKeys {
    keys: Arc<[Key]>,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl SealKeys {
    /// Reads `id:base64,id2:base64`. An id has 1 to 32 letters, digits, `-` and `_`; a key has 32 bytes.
    ///
    /// # Errors
    /// Where a part is malformed or an id comes twice; the error says which part, and nothing of a key.
    pub fn parse(text: &str) -> Result<Self, SettingsError> {
        let mut keys: Vec<Key> = Vec::new();
        for (index, part) in text.split(',').map(str::trim).enumerate() {
            let wrong = |problem: &str| {
                let right = "keys like 2026a:<base64 of 32 random bytes>, separated by commas";
                SettingsError::new(
                    SETTING,
                    "hidden",
                    format!("{right}: key {} {problem}", index + 1),
                )
            };
            let (id, key) = part.split_once(':').ok_or_else(|| wrong("has no id in front"))?;
            let good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            if id.is_empty() || id.len() > 32 || !id.chars().all(good) {
                return Err(wrong("has an id that is not 1 to 32 letters, digits, - and _"));
            }
            if keys.iter().any(|key| key.id == id) {
                return Err(wrong("has the id of another one"));
            }
            let cipher = STANDARD
                .decode(key)
                .ok()
                .and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok())
                .ok_or_else(|| wrong("is not the base64 of 32 bytes"))?;
            keys.push(Key { id: id.to_owned(), cipher });
        }
        Ok(Self { keys: keys.into() })
    }

    /// Whether there is no key: nothing can be sealed.
    pub(crate) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Seals the fields of `M` that are there. False where there is none.
    pub(crate) fn seal<M: Message>(
        &self,
        fields: &mut Map<String, Value>,
        id: &str,
    ) -> Result<bool, Fault> {
        let mut sealed = false;
        for field in M::SEALED {
            let Some(value) = fields.get_mut(*field) else { continue };
            let key = self.keys.first().ok_or_else(|| {
                Fault::new(
                    Code::Unavailable,
                    format!("{} has the sealed field `{field}`, which needs a key: set {SETTING} to one like `2026a:<base64 of 32 random bytes>`", M::NAME),
                )
            })?;
            *value = Value::String(key.seal(value, &associated::<M>(field, id))?);
            sealed = true;
        }
        Ok(sealed)
    }

    /// The first field of `M` whose value begins as a sealed one does.
    pub(crate) fn looks_sealed<M: Message>(fields: &Map<String, Value>) -> Option<&'static str> {
        let looks = |field: &&&'static str| {
            let text = fields.get(**field).and_then(Value::as_str);
            text.is_some_and(|text| text.starts_with(PREFIX))
        };
        M::SEALED.iter().find(looks).copied()
    }

    /// Opens the fields of `M` that are sealed.
    pub(crate) fn open<M: Message>(
        &self,
        fields: &mut Map<String, Value>,
        id: &str,
    ) -> Result<(), Fault> {
        for field in M::SEALED {
            let Some(value) = fields.get_mut(*field) else { continue };
            let Some(text) = value.as_str().and_then(|text| text.strip_prefix(PREFIX)) else {
                continue;
            };
            let (key_id, text) = text.split_once(':').unwrap_or(("", text));
            let key = self.keys.iter().find(|key| key.id == key_id).ok_or_else(|| {
                Fault::new(
                    Code::Unavailable,
                    format!("field `{field}` of {} is sealed with the key {key_id:?}, which is not in {SETTING}", M::NAME),
                )
            })?;
            *value = key.open(text, &associated::<M>(field, id)).ok_or_else(|| {
                Fault::new(
                    Code::Invalid,
                    format!("field `{field}` of {} does not open with the key {key_id:?}: it was sealed with another key or for another message, or was changed", M::NAME),
                )
            })?;
        }
        Ok(())
    }
}

impl Key {
    fn seal(&self, value: &Value, associated: &[u8]) -> Result<String, Fault> {
        let failed = || Fault::new(Code::Internal, "a field could not be sealed");
        let plain = serde_json::to_vec(value).map_err(|_never| failed())?;
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: &plain, aad: associated };
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_opaque| failed())?;
        let bytes = [nonce.as_slice(), &sealed].concat();
        Ok(format!("{PREFIX}{}:{}", self.id, URL_SAFE_NO_PAD.encode(bytes)))
    }

    fn open(&self, text: &str, associated: &[u8]) -> Option<Value> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: associated };
        let plain = self.cipher.decrypt(&XNonce::from(*nonce), payload).ok()?;
        serde_json::from_slice(&plain).ok()
    }
}

/// What a sealed value belongs to. No part but the last can have a zero byte, so that no two are the same.
fn associated<M: Message>(field: &str, id: &str) -> Vec<u8> {
    [VERSION, M::NAME, field, id].join("\0").into_bytes()
}

impl std::fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEROS: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    #[test]
    fn keys_are_read_and_never_shown() {
        let keys = SealKeys::parse(&format!("a:{ZEROS}, b_2:{ZEROS}")).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["a", "b_2"]"#);
    }

    #[test]
    fn bad_keys_are_told_by_their_place_without_their_text() {
        let check = |text: &str, expected: &str| {
            let error = SealKeys::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("MUSTER_SEAL_KEYS is \"hidden\", but must be keys like"));
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains("AAAA") && !error.contains("c2hvcnQ"), "{error}");
        };
        check(ZEROS, "key 1 has no id in front");
        check("a:c2hvcnQ=", "key 1 is not the base64 of 32 bytes");
        check(&format!("a:{ZEROS},"), "key 2 has no id in front");
        check(&format!("a:{ZEROS},a:{ZEROS}"), "key 2 has the id of another");
        check(&format!("a b:{ZEROS}"), "key 1 has an id that is not");
    }

    #[test]
    fn a_sealed_value_opens_only_where_it_belongs() {
        let keys = SealKeys::parse(&format!("a:{ZEROS}")).unwrap();
        let key = &keys.keys[0];
        let value = serde_json::json!({"number": 9_007_199_254_740_993_u64, "text": "canary"});
        let text = key.seal(&value, b"here").unwrap();
        let inner = text.strip_prefix("sealed:v1:a:").unwrap();
        assert_eq!(key.open(inner, b"here"), Some(value.clone()));
        assert_eq!(key.open(inner, b"there"), None);
        assert_eq!(key.open(&inner[1..], b"here"), None);
        assert_eq!(key.open("", b"here"), None);
        assert_ne!(key.seal(&value, b"here").unwrap(), text, "a nonce is used once");
    }
}
