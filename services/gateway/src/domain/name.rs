//! Names that clients choose.

use crate::error::Error;

/// The longest name of a collection, and of an agent.
const MAX_NAME: usize = 63;
/// The longest id of a document.
const MAX_ID: usize = 128;

/// Checks the name of a collection or an agent: `^[a-z0-9][a-z0-9_-]{0,62}$`.
pub(crate) fn name<'a>(what: &str, value: &'a str) -> Result<&'a str, Error> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = value.len() <= MAX_NAME
        && value.bytes().next().is_some_and(letter)
        && value.bytes().all(|byte| letter(byte) || byte == b'_' || byte == b'-');
    if good {
        return Ok(value);
    }
    let shown: String = value.chars().take(80).collect();
    Err(Error::invalid(format!(
        "the {what} is {shown:?}, but a name has 1 to {MAX_NAME} of a-z, 0-9, `_` and `-`, and begins with a letter or digit"
    )))
}

/// Checks the id of a document: 1 to 128 of letters, digits, `.`, `_`, `-` and `:`.
pub(crate) fn document_id(value: &str) -> Result<&str, Error> {
    let good = (1..=MAX_ID).contains(&value.len())
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-:".contains(&byte));
    if good {
        return Ok(value);
    }
    let shown: String = value.chars().take(80).collect();
    Err(Error::invalid(format!(
        "the document's id is {shown:?}, but it has 1 to {MAX_ID} of letters, digits, `.`, `_`, `-` and `:`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        for good in ["a", "a-b_c", "0x", &"a".repeat(63)] {
            assert!(name("name", good).is_ok(), "{good:?}");
        }
        for bad in ["", "A", "-a", "a b", "a.b", "ä", &"a".repeat(64)] {
            assert!(name("name", bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn document_ids_have_no_separators_of_paths() {
        assert!(document_id("Report-2026_v1.md").is_ok());
        for bad in ["", "a/b", "a b", "ü", &"a".repeat(129)] {
            assert!(document_id(bad).is_err(), "{bad:?}");
        }
    }
}
