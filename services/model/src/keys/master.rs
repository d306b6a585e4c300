//! The master keys, under which the keys of providers lie.

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use muster_runtime::Env;

const SETTING: &str = "MUSTER_MASTER_KEY";
const NONCE: usize = 24;

/// The keys that other keys are encrypted with: the first one encrypts, every one decrypts. Its debug form has the ids only.
#[derive(Clone, Default)]
pub(crate) struct MasterKeys {
    keys: Vec<(String, Cipher)>,
}

/// XChaCha20-Poly1305 with one key.
#[derive(Clone)]
pub(crate) struct Cipher(XChaCha20Poly1305);

impl Cipher {
    /// A cipher with this key, which has 32 bytes.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        XChaCha20Poly1305::new_from_slice(key).ok().map(Self)
    }

    /// A random nonce and the ciphertext, base64.
    pub(crate) fn encrypt(&self, plain: &[u8], place: &[u8]) -> Option<String> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload { msg: plain, aad: place };
        let sealed = self.0.encrypt(&XNonce::from(nonce), payload).ok()?;
        Some(STANDARD.encode([nonce.as_slice(), &sealed].concat()))
    }

    /// The plain text; nothing where the key or the place is another, or anything was changed.
    pub(crate) fn decrypt(&self, text: &str, place: &[u8]) -> Option<Vec<u8>> {
        let bytes = STANDARD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE>()?;
        let payload = Payload { msg: sealed, aad: place };
        self.0.decrypt(&XNonce::from(*nonce), payload).ok()
    }
}

impl MasterKeys {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        match env.secret(SETTING)? {
            None => Ok(Self::default()),
            Some(secret) => Self::parse(&secret.text).context(secret.place),
        }
    }

    /// Reads `id:base64`, several in lines or separated by commas. An error tells which one is wrong, and nothing of it.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let parts = text.split(['\n', ',']).map(str::trim);
        let parts = parts.filter(|part| !part.is_empty() && !part.starts_with('#'));
        let mut keys: Vec<(String, Cipher)> = Vec::new();
        for (index, part) in parts.enumerate() {
            let right = "keys must be like 2026a:<base64 of 32 random bytes>";
            let at = index + 1;
            let (id, key) =
                part.split_once(':').with_context(|| format!("{right}: key {at} has no id"))?;
            let good = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
            ensure!(
                (1..=32).contains(&id.len()) && id.chars().all(good),
                "{right}: the id of key {at} must have 1 to 32 letters, digits, - and _"
            );
            ensure!(
                keys.iter().all(|(known, _)| known != id),
                "{right}: key {at} has the id of another one"
            );
            let cipher = STANDARD.decode(key).ok().and_then(|key| Cipher::new(&key));
            let cipher = cipher
                .with_context(|| format!("{right}: key {at} is not the base64 of 32 bytes"))?;
            keys.push((id.to_owned(), cipher));
        }
        ensure!(!keys.is_empty(), "there is no key in it");
        Ok(Self { keys })
    }

    /// The one that encrypts, with its id.
    pub(crate) fn newest(&self) -> Option<(&str, &Cipher)> {
        self.keys.first().map(|(id, cipher)| (id.as_str(), cipher))
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Cipher> {
        self.keys.iter().find(|(known, _)| known == id).map(|(_, cipher)| cipher)
    }
}

impl std::fmt::Debug for MasterKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(id, _)| id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONES: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn several_keys_are_read_and_never_shown() {
        let keys = MasterKeys::parse(&format!("# new\n2026b:{ONES}\n2026a:{ONES}\n")).unwrap();
        assert_eq!(format!("{keys:?}"), r#"["2026b", "2026a"]"#);
        assert_eq!(keys.newest().unwrap().0, "2026b");
        assert!(keys.find("2026a").is_some() && keys.find("x").is_none());
    }

    #[test]
    fn a_bad_key_is_told_by_its_place_without_its_text() {
        for (text, part) in [
            (ONES.to_owned(), "key 1 has no id"),
            (format!("a:{ONES},b:c2hvcnQ="), "key 2 is not the base64 of 32 bytes"),
            (format!("a:{ONES},a:{ONES}"), "key 2 has the id of another"),
            (format!("a b:{ONES}"), "the id of key 1"),
            ("# none\n".to_owned(), "no key"),
        ] {
            let error = format!("{:#}", MasterKeys::parse(&text).unwrap_err());
            assert!(error.contains(part) && !error.contains("AQEB"), "{error}");
        }
    }

    #[test]
    fn what_is_encrypted_opens_only_at_its_place() {
        let cipher = Cipher::new(&[7; 32]).unwrap();
        let text = cipher.encrypt(b"canary", b"here").unwrap();
        assert_eq!(cipher.decrypt(&text, b"here").as_deref(), Some(b"canary".as_slice()));
        assert_eq!(cipher.decrypt(&text, b"there"), None);
        assert_eq!(Cipher::new(&[8; 32]).unwrap().decrypt(&text, b"here"), None);
        assert_ne!(cipher.encrypt(b"canary", b"here").unwrap(), text, "a nonce is used once");
    }
}
