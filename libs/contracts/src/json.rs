//! JSON values inside messages, exact for every integer up to 2^63-1.

use std::ops::{Deref, DerefMut};

use chrono::{DateTime, Utc};
use pbjson_types::{ListValue, Struct, Timestamp, Value as PbValue, value::Kind};
use prost::{
    DecodeError,
    bytes::{Buf, BufMut},
    encoding::{DecodeContext, WireType},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value};

/// Any JSON value: `google.protobuf.Value` on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub Value);

/// A JSON object: `google.protobuf.Struct` on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonObject(pub Map<String, Value>);

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        Self(value)
    }
}

impl From<Map<String, Value>> for JsonObject {
    fn from(map: Map<String, Value>) -> Self {
        Self(map)
    }
}

impl JsonObject {
    /// The object as a value.
    #[must_use]
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    /// The object in `value`; any other value is the one field `value` of an object.
    #[must_use]
    pub fn wrap(value: Value) -> Self {
        match value {
            Value::Object(map) => Self(map),
            Value::Null => Self::default(),
            other => Self(Map::from_iter([("value".to_owned(), other)])),
        }
    }
}

impl Deref for Json {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Deref for JsonObject {
    type Target = Map<String, Value>;
    fn deref(&self) -> &Map<String, Value> {
        &self.0
    }
}

impl DerefMut for JsonObject {
    fn deref_mut(&mut self) -> &mut Map<String, Value> {
        &mut self.0
    }
}

/// A time as the contract carries it.
#[must_use]
pub fn now(at: DateTime<Utc>) -> Option<Timestamp> {
    Some(at.into())
}

/// The time that a message carries; the epoch where it carries none or an impossible one.
#[must_use]
pub fn time(timestamp: Option<&Timestamp>) -> DateTime<Utc> {
    timestamp
        .and_then(|timestamp| {
            DateTime::from_timestamp(
                timestamp.seconds,
                u32::try_from(timestamp.nanos).unwrap_or_default(),
            )
        })
        .unwrap_or(DateTime::UNIX_EPOCH)
}

fn to_pb(value: &Value) -> PbValue {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(flag) => Kind::BoolValue(*flag),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or_default()),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(to_pb).collect() })
        }
        Value::Object(map) => Kind::StructValue(to_struct(map)),
    };
    PbValue { kind: Some(kind) }
}

fn to_struct(map: &Map<String, Value>) -> Struct {
    Struct { fields: map.iter().map(|(key, value)| (key.clone(), to_pb(value))).collect() }
}

fn from_pb(value: PbValue) -> Value {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(flag)) => Value::Bool(flag),
        Some(Kind::NumberValue(number)) => {
            Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::ListValue(list)) => Value::Array(list.values.into_iter().map(from_pb).collect()),
        Some(Kind::StructValue(object)) => Value::Object(from_struct(object)),
    }
}

fn from_struct(object: Struct) -> Map<String, Value> {
    object.fields.into_iter().map(|(key, value)| (key, from_pb(value))).collect()
}

// The binary form exists because prost asks for it; the bus speaks JSON.
macro_rules! binary_form {
    ($ours:ty, $theirs:ty, $to:expr, $from:expr) => {
        impl prost::Message for $ours {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                $to(&self.0).encode_raw(buf);
            }
            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                cx: DecodeContext,
            ) -> Result<(), DecodeError> {
                let mut value: $theirs = $to(&self.0);
                value.merge_field(tag, wire_type, buf, cx)?;
                self.0 = $from(value);
                Ok(())
            }
            fn encoded_len(&self) -> usize {
                $to(&self.0).encoded_len()
            }
            fn clear(&mut self) {
                self.0 = Default::default();
            }
        }
    };
}

binary_form!(Json, PbValue, to_pb, from_pb);
binary_form!(JsonObject, Struct, to_struct, from_struct);
