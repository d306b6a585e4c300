//! Buckets that keep messages: the fields that the contract seals are sealed there too.

use muster_contracts::{Bucket, Code, Fault, Message};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Kv;
use crate::Bus;
use crate::payload::{SEAL_KEYS_SETTING, SealKeys};

type Fields = Map<String, Value>;
type Seal = fn(&SealKeys, &mut Fields, &str) -> Result<bool, Fault>;
type Open = fn(&SealKeys, &mut Fields, &str) -> Result<(), Fault>;
type LooksSealed = fn(&Fields) -> Option<&'static str>;

/// How the sealed fields of the values are written and read.
#[derive(Clone, Copy)]
pub(super) struct Sealing {
    seal: Seal,
    open: Open,
    looks_sealed: LooksSealed,
}

impl Bus {
    /// As [`Bus::kv`] with messages as values, whose [sealed](Message::SEALED) fields are sealed in the bucket, where the process has keys to do so.
    ///
    /// A value whose key of sealing is gone, or that was changed or moved to another key, cannot be read: [`Kv::get`] fails, and [`Kv::get_or_reason`] tells it from a bucket that cannot be read.
    /// Without keys a text that begins as a sealed one is refused as INVALID.
    #[must_use]
    pub fn kv_sealed<M: Message + Serialize + DeserializeOwned>(&self, bucket: Bucket) -> Kv<M> {
        let sealing = Sealing {
            seal: SealKeys::seal::<M>,
            open: SealKeys::open::<M>,
            looks_sealed: SealKeys::looks_sealed::<M>,
        };
        Kv { sealing: Some(sealing), ..self.kv(bucket) }
    }
}

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// Without keys a value stays as it is: where it came sealed there were keys. One that only looks as if it were sealed could then not be told from one that is.
    pub(super) fn seal(&self, key: &str, value: &mut Value) -> Result<(), Fault> {
        let (Some(sealing), Value::Object(fields)) = (self.sealing, value) else { return Ok(()) };
        let keys = self.bus.seal_keys();
        if !keys.is_empty() {
            return (sealing.seal)(keys, fields, &self.belonging(key)?).map(drop);
        }
        match (sealing.looks_sealed)(fields) {
            None => Ok(()),
            Some(field) => {
                let text = format!(
                    "`{field}` begins as a sealed field does, which cannot be kept as it is: set {SEAL_KEYS_SETTING}"
                );
                Err(Fault::new(Code::Invalid, text))
            }
        }
    }

    pub(super) fn open(&self, key: &str, value: &mut Value) -> Result<(), Fault> {
        match (self.sealing, value) {
            (Some(sealing), Value::Object(fields)) => {
                (sealing.open)(self.bus.seal_keys(), fields, &self.belonging(key)?)
            }
            _ => Ok(()),
        }
    }

    /// What a sealed field of this key's value belongs to: bucket, service and key, so that it opens nowhere else.
    fn belonging(&self, key: &str) -> Result<String, Fault> {
        self.subject(key)
    }
}
