//! Buckets that keep messages: the fields that the contract seals are sealed there too.

use muster_contracts::{Bucket, Fault, Message};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::Kv;
use crate::Bus;
use crate::payload::SealKeys;

type Fields = Map<String, Value>;
type Seal = fn(&SealKeys, &mut Fields, &str) -> Result<bool, Fault>;
type Open = fn(&SealKeys, &mut Fields, &str) -> Result<(), Fault>;

/// How the sealed fields of the values are written and read. What they belong to is their key.
#[derive(Clone, Copy)]
pub(super) struct Sealing {
    seal: Seal,
    open: Open,
}

impl Bus {
    /// As [`Bus::kv`] with messages as values, whose [sealed](Message::SEALED) fields are sealed in the bucket, where the process has keys to do so.
    #[must_use]
    pub fn kv_sealed<M: Message + Serialize + DeserializeOwned>(&self, bucket: Bucket) -> Kv<M> {
        let sealing = Sealing { seal: SealKeys::seal::<M>, open: SealKeys::open::<M> };
        Kv { sealing: Some(sealing), ..self.kv(bucket) }
    }
}

impl<T: Serialize + DeserializeOwned> Kv<T> {
    /// Without keys a value stays as it is: where it came sealed there were keys.
    pub(super) fn seal(&self, key: &str, value: &mut Value) -> Result<(), Fault> {
        let keys = self.bus.seal_keys();
        if let (Some(sealing), Value::Object(fields)) = (self.sealing, value)
            && !keys.is_empty()
        {
            (sealing.seal)(keys, fields, key)?;
        }
        Ok(())
    }

    pub(super) fn open(&self, key: &str, value: &mut Value) -> Result<(), Fault> {
        match (self.sealing, value) {
            (Some(sealing), Value::Object(fields)) => {
                (sealing.open)(self.bus.seal_keys(), fields, key)
            }
            _ => Ok(()),
        }
    }
}
