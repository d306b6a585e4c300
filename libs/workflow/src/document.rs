//! The text of a document to JSON, within bounds.

use std::fmt::Write as _;

use muster_document::Bounds;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::limits;
use crate::problem::{Problem, Problems};

const BOUNDS: Bounds = Bounds {
    bytes: limits::DOCUMENT_BYTES,
    values: limits::DOCUMENT_VALUES,
    depth: limits::DOCUMENT_DEPTH,
};

/// Reads YAML or JSON (which YAML contains).
pub(crate) fn read(text: &str) -> Result<Value, Problems> {
    muster_document::read(text, &BOUNDS).map_err(|error| {
        Problems(vec![Problem {
            pointer: String::new(),
            message: format!("the document cannot be read: {}", error.message),
            line: error.line,
            column: error.column,
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

/// SHA-256 of the canonical JSON, in lower-case hexadecimal.
pub(crate) fn digest(document: &Value) -> String {
    hex(&Sha256::digest(canonical_text(document)))
}

/// The canonical JSON of a value: no white space, keys sorted.
pub(crate) fn canonical_text(value: &Value) -> String {
    let mut text = String::new();
    canonical(value, &mut text);
    text
}

/// Bytes in lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
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

fn too_deep() -> String {
    format!("it nests deeper than {} levels", limits::DOCUMENT_DEPTH)
}

fn too_many() -> String {
    format!("it holds more than {} values", limits::DOCUMENT_VALUES)
}
