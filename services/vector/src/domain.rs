//! What documents, chunks and searches are, and the decisions about them. No I/O.

mod chunk;
mod document;
mod query;
mod rank;
mod words;

pub(crate) use chunk::{Chunk, chunks};
pub(crate) use document::{Stored, Upsert, Written, document_id, text_of};
pub(crate) use query::Query;
pub(crate) use rank::{CANDIDATES, Ranked, fuse};
pub(crate) use words::folded;

/// Why an input cannot be used. The text names the bad value and what would be right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Problem(String);

impl Problem {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Checks the name of a collection.
pub(crate) fn collection(name: &str) -> Result<String, Problem> {
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if begins && name.len() <= 128 && name.chars().all(good) {
        Ok(name.to_owned())
    } else {
        Err(Problem::new(format!(
            "`collection` is {:?}, but a collection's name has 1 to 128 letters, digits, `_`, `.` and `-` and begins with a letter or digit",
            excerpt(name)
        )))
    }
}

/// Postgres stores no NUL, in text or in JSON.
fn no_nul(field: &str, json: &serde_json::Value) -> Result<(), Problem> {
    use serde_json::Value;
    let clean = match json {
        Value::String(text) => !text.contains('\0'),
        Value::Array(items) => return items.iter().try_for_each(|item| no_nul(field, item)),
        Value::Object(map) => {
            map.values().try_for_each(|value| no_nul(field, value))?;
            !map.keys().any(|key| key.contains('\0'))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    };
    if clean {
        Ok(())
    } else {
        Err(Problem::new(format!("`{field}` holds a NUL character, which cannot be stored")))
    }
}

/// The beginning of a value, short enough for an error.
fn excerpt(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_no_collections() {
        for name in ["", ".", "-a", "a b", "a/b", "ä", "a\0", &"a".repeat(129)] {
            assert!(collection(name).is_err(), "{name:?}");
        }
        for name in ["a", "Research-notes_2.1", &"a".repeat(128)] {
            assert_eq!(collection(name).unwrap(), name);
        }
    }
}
