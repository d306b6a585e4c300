//! A key for its requester only: in a NaCl box, which every language's libsodium opens.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::aead::{Aead, AeadCore, OsRng};
use crypto_box::{PublicKey, SalsaBox, SecretKey};

use crate::config::Secret;

/// A box and the one-time public key of its sender, both base64.
pub(crate) struct Boxed {
    /// 24 bytes of nonce, then what `crypto_box_open_easy` opens.
    pub(crate) text: String,
    pub(crate) sender_key: String,
}

/// Puts a key into a box for the owner of this public key. Nothing where that is no X25519 key.
pub(crate) fn for_requester(public_key: &str, key: &Secret) -> Option<Boxed> {
    let bytes = STANDARD.decode(public_key).ok()?;
    let bytes: [u8; 32] = bytes.try_into().ok()?;
    // With such a key whoever listens could open the box.
    if bytes.iter().all(|byte| *byte == 0) {
        return None;
    }
    let sender = SecretKey::generate(&mut OsRng);
    let salsa = SalsaBox::new(&PublicKey::from(bytes), &sender);
    let nonce = SalsaBox::generate_nonce(&mut OsRng);
    let sealed = salsa.encrypt(&nonce, key.expose().as_bytes()).ok()?;
    Some(Boxed {
        text: STANDARD.encode([nonce.as_slice(), &sealed].concat()),
        sender_key: STANDARD.encode(sender.public_key().as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_requester_opens_the_box() {
        let mine = SecretKey::generate(&mut OsRng);
        let public = STANDARD.encode(mine.public_key().as_bytes());
        let boxed = for_requester(&public, &Secret::new("sk-canary")).unwrap();
        let bytes = STANDARD.decode(&boxed.text).unwrap();
        let sender: [u8; 32] = STANDARD.decode(&boxed.sender_key).unwrap().try_into().unwrap();
        let open = |secret: &SecretKey| {
            let (nonce, sealed) = bytes.split_at(24);
            SalsaBox::new(&PublicKey::from(sender), secret)
                .decrypt(crypto_box::Nonce::from_slice(nonce), sealed)
                .ok()
        };
        assert_eq!(open(&mine).as_deref(), Some(b"sk-canary".as_slice()));
        assert_eq!(open(&SecretKey::generate(&mut OsRng)), None);
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for bad in ["", "AAAA", "no base64!", &STANDARD.encode([0; 32])] {
            assert!(for_requester(bad, &Secret::new("x")).is_none(), "{bad}");
        }
    }
}
