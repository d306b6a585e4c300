//! The text of a document to JSON, within bounds.

use std::cell::Cell;
use std::fmt;
use std::fmt::Write as _;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest, Sha256};

use crate::limits;
use crate::problem::{Problem, Problems};

/// Reads YAML or JSON (which YAML contains).
pub(crate) fn read(text: &str) -> Result<Value, Problems> {
    let limit = limits::DOCUMENT_BYTES;
    if text.len() > limit {
        let message = format!("the document has {} bytes, {limit} at most", text.len());
        return Err(Problems::one("", message));
    }
    if text.trim().is_empty() {
        return Err(Problems::one("", "the document is empty"));
    }
    let left = Cell::new(limits::DOCUMENT_VALUES);
    let node = Node { left: &left, depth: limits::DOCUMENT_DEPTH };
    node.deserialize(serde_yaml_ng::Deserializer::from_str(text)).map_err(|error| {
        let location = error.location();
        let mut message = format!("the document cannot be read: {error}");
        if let Some(at) = &location {
            // Said apart, by the fields of the problem.
            message =
                message.replace(&format!(" at line {} column {}", at.line(), at.column()), "");
        }
        Problems(vec![Problem {
            pointer: String::new(),
            message,
            line: location.as_ref().map(serde_yaml_ng::Location::line),
            column: location.as_ref().map(serde_yaml_ng::Location::column),
        }])
    })
}

/// Checks that JSON from elsewhere keeps the bounds that [`read`] enforces.
pub(crate) fn check(document: &Value) -> Result<(), Problems> {
    let mut left = limits::DOCUMENT_VALUES;
    count(document, &mut left, limits::DOCUMENT_DEPTH).map_err(|message| Problems::one("", message))
}

fn count(value: &Value, left: &mut usize, depth: usize) -> Result<(), String> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    *left = left.checked_sub(1).ok_or_else(too_many)?;
    match value {
        Value::Array(values) => values.iter().try_for_each(|value| count(value, left, depth)),
        Value::Object(map) => map.values().try_for_each(|value| count(value, left, depth)),
        _ => Ok(()),
    }
}

/// SHA-256 of the canonical JSON: no white space, keys sorted.
pub(crate) fn digest(document: &Value) -> String {
    let mut text = String::new();
    canonical(document, &mut text);
    let hash = Sha256::digest(text.as_bytes());
    hash.iter().fold(String::with_capacity(64), |mut hex, byte| {
        // Writing to a string cannot fail.
        write!(hex, "{byte:02x}").ok();
        hex
    })
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Array(values) => {
            text.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(value, text);
            }
            text.push(']');
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            text.push('{');
            for (index, (key, value)) in entries.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        scalar => text.push_str(&scalar.to_string()),
    }
}

/// Builds JSON value by value, so that aliases that unfold into thousands are stopped on the way.
#[derive(Clone, Copy)]
struct Node<'a> {
    left: &'a Cell<usize>,
    depth: usize,
}

impl Node<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        let depth = self.depth.checked_sub(1).ok_or_else(|| E::custom(too_deep()))?;
        Ok(Node { depth, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let left = self.left.get().checked_sub(1).ok_or_else(|| D::Error::custom(too_many()))?;
        self.left.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value (null, boolean, number, string, list or map)")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value);
        number.map(Value::Number).ok_or_else(|| E::custom(format!("{value} is no JSON number")))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(inside)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key_seed(inside)? {
            let Value::String(key) = key else {
                return Err(A::Error::custom(format!("the key {key} is not a string")));
            };
            let value = access.next_value_seed(inside)?;
            if map.insert(key.clone(), value).is_some() {
                return Err(A::Error::custom(format!("the key `{key}` stands twice in a map")));
            }
        }
        Ok(Value::Object(map))
    }
}

fn too_deep() -> String {
    format!("it nests deeper than {} levels", limits::DOCUMENT_DEPTH)
}

fn too_many() -> String {
    format!("it holds more than {} values", limits::DOCUMENT_VALUES)
}
