//! A key of a provider as it is kept: encrypted with a data key of its own, which lies under a master key.

use serde::{Deserialize, Serialize};

use super::master::{Cipher, MasterKeys};
use crate::config::Secret;

/// An encrypted key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The id of the master key.
    pub(crate) master: String,
    /// The data key, encrypted with the master key.
    data_key: String,
    /// The key, encrypted with the data key.
    key: String,
}

/// Why an envelope cannot be made or opened.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Closed {
    #[error(
        "no master key is set: set MUSTER_MASTER_KEY_FILE or MUSTER_MASTER_KEY to one like `2026a:<base64 of 32 random bytes>`"
    )]
    NoMaster,
    #[error("it lies under the master key {0:?}, which is not set")]
    UnknownMaster(String),
    #[error(
        "it does not open: it was changed, moved, or put under another master key of the same id"
    )]
    Damaged,
}

impl Envelope {
    /// Encrypts a key for the place where it is kept: nowhere else does it open.
    pub(crate) fn seal(masters: &MasterKeys, place: &str, key: &Secret) -> Result<Self, Closed> {
        let data_key: [u8; 32] = rand::random();
        let cipher = Cipher::new(&data_key).ok_or(Closed::Damaged)?;
        let key = cipher.encrypt(key.expose().as_bytes(), place.as_bytes());
        let key = key.ok_or(Closed::Damaged)?;
        Self::wrap(masters, place, &data_key, key)
    }

    fn wrap(
        masters: &MasterKeys,
        place: &str,
        data_key: &[u8],
        key: String,
    ) -> Result<Self, Closed> {
        let (id, master) = masters.newest().ok_or(Closed::NoMaster)?;
        let data_key = master.encrypt(data_key, place.as_bytes()).ok_or(Closed::Damaged)?;
        Ok(Self { master: id.to_owned(), data_key, key })
    }

    pub(crate) fn open(&self, masters: &MasterKeys, place: &str) -> Result<Secret, Closed> {
        let cipher = Cipher::new(&self.data_key(masters, place)?).ok_or(Closed::Damaged)?;
        let key = cipher.decrypt(&self.key, place.as_bytes()).ok_or(Closed::Damaged)?;
        String::from_utf8(key).map(|key| Secret::new(&key)).map_err(|_not_text| Closed::Damaged)
    }

    /// The same under the newest master key; nothing where it lies there already.
    pub(crate) fn rewrap(&self, masters: &MasterKeys, place: &str) -> Result<Option<Self>, Closed> {
        let (id, _) = masters.newest().ok_or(Closed::NoMaster)?;
        if self.master == id {
            return Ok(None);
        }
        let data_key = self.data_key(masters, place)?;
        Self::wrap(masters, place, &data_key, self.key.clone()).map(Some)
    }

    fn data_key(&self, masters: &MasterKeys, place: &str) -> Result<Vec<u8>, Closed> {
        let unknown = || match masters.newest() {
            None => Closed::NoMaster,
            Some(_) => Closed::UnknownMaster(self.master.clone()),
        };
        let master = masters.find(&self.master).ok_or_else(unknown)?;
        master.decrypt(&self.data_key, place.as_bytes()).ok_or(Closed::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masters(text: &str) -> MasterKeys {
        let env = [("MUSTER_MASTER_KEY", text)].into_iter().collect();
        MasterKeys::from_env(&env).unwrap()
    }

    const A: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
    const B: &str = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

    #[test]
    fn a_key_opens_at_its_place_and_under_its_master_key_only() {
        let sealed = Envelope::seal(&masters(A), "openai.k", &Secret::new("sk-canary")).unwrap();
        assert!(!serde_json::to_string(&sealed).unwrap().contains("canary"));
        assert_eq!(sealed.open(&masters(A), "openai.k").unwrap().expose(), "sk-canary");
        assert_eq!(sealed.open(&masters(A), "openai.other"), Err(Closed::Damaged));
        assert_eq!(sealed.open(&masters(B), "openai.k"), Err(Closed::UnknownMaster("a".into())));
        assert_eq!(sealed.open(&MasterKeys::default(), "openai.k"), Err(Closed::NoMaster));
    }

    #[test]
    fn a_new_master_key_takes_over_without_knowing_the_key() {
        let sealed = Envelope::seal(&masters(A), "p", &Secret::new("sk-canary")).unwrap();
        let both = masters(&format!("{B},{A}"));
        let moved = sealed.rewrap(&both, "p").unwrap().unwrap();
        assert_eq!((moved.master.as_str(), &moved.key), ("b", &sealed.key));
        assert_eq!(moved.open(&masters(B), "p").unwrap().expose(), "sk-canary");
        assert_eq!(moved.rewrap(&both, "p"), Ok(None));
        assert_eq!(sealed.rewrap(&masters(B), "p"), Err(Closed::UnknownMaster("a".into())));
    }
}
