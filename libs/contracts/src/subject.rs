//! Subjects: templates, tokens and patterns.

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 128;

/// The longest id, in bytes.
pub const MAX_ID: usize = 63;

/// A value that cannot be a token of a subject.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{field}` is {value:?}, but {expected}")]
pub struct SubjectError {
    field: &'static str,
    value: String,
    expected: Expected,
}

/// What would be right.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Token,
    Id,
    NoFixedWord,
    OneOf(&'static [&'static str]),
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Token => write!(
                f,
                "an id or a name has 1 to {MAX_TOKEN} bytes and none of `.`, `*`, `>`, white space and control characters"
            ),
            Self::Id => write!(
                f,
                "an id has 1 to {MAX_ID} of a-z, 0-9, `_` and `-`, and begins with a letter or digit"
            ),
            Self::NoFixedWord => {
                f.write_str("that is a fixed word of the contract at this place: choose another")
            }
            Self::OneOf(values) => write!(f, "it must be one of {}", values.join(", ")),
        }
    }
}

/// Checks that `value` can be a token of a subject.
///
/// # Errors
/// Where it is empty, too long, or has a character that means something in a subject.
pub fn token<'a>(field: &'static str, value: &'a str) -> Result<&'a str, SubjectError> {
    let good = !value.is_empty()
        && value.len() <= MAX_TOKEN
        && !value
            .chars()
            .any(|c| matches!(c, '.' | '*' | '>') || c.is_whitespace() || c.is_control());
    if good { Ok(value) } else { refuse(field, value, Expected::Token) }
}

/// Checks that `value` is an id: `^[a-z0-9][a-z0-9_-]{0,62}$` and none of the `fixed` words.
///
/// # Errors
/// Where it is not.
pub fn id<'a>(
    field: &'static str,
    value: &'a str,
    fixed: &[&str],
) -> Result<&'a str, SubjectError> {
    let good = value.len() <= MAX_ID
        && value.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    if !good {
        return refuse(field, value, Expected::Id);
    }
    token_beside(field, value, fixed)
}

/// Checks that `value` can be a token of a subject and is none of the `fixed` words, which would make it the subject of another message.
///
/// # Errors
/// Where it is not, or is.
pub fn token_beside<'a>(
    field: &'static str,
    value: &'a str,
    fixed: &[&str],
) -> Result<&'a str, SubjectError> {
    if fixed.contains(&value) {
        return refuse(field, value, Expected::NoFixedWord);
    }
    token(field, value)
}

/// Checks that `value` is one of these.
///
/// # Errors
/// Where it is another.
pub fn one_of<'a>(
    field: &'static str,
    value: &'a str,
    values: &'static [&'static str],
) -> Result<&'a str, SubjectError> {
    if values.contains(&value) { Ok(value) } else { refuse(field, value, Expected::OneOf(values)) }
}

fn refuse<T>(field: &'static str, value: &str, expected: Expected) -> Result<T, SubjectError> {
    Err(SubjectError { field, value: value.chars().take(64).collect(), expected })
}

/// The pattern that fits every subject of a template: `agent.{id}.inbox` is `agent.*.inbox`.
#[must_use]
pub fn pattern(template: &str) -> String {
    template
        .split('.')
        .map(|token| if token.starts_with('{') { "*" } else { token })
        .collect::<Vec<_>>()
        .join(".")
}

/// The pattern of a message's subjects with these fields set: `journal.{execution_id}.{run_id}` with the first is `journal.x.*`.
///
/// # Errors
/// Where a value cannot be a token of a subject.
pub fn address<M: crate::Addressed>(
    fields: &[(&'static str, &str)],
) -> Result<String, SubjectError> {
    let mut tokens = Vec::new();
    for part in M::SUBJECT.split('.') {
        let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        let value = name.and_then(|name| fields.iter().find(|(field, _)| *field == name));
        tokens.push(match (name, value) {
            (Some(_), Some((field, value))) => token(field, value)?,
            (Some(_), None) => "*",
            (None, _) => part,
        });
    }
    Ok(tokens.join("."))
}

/// The patterns of a message: of its subject, and of its alias where it has one.
#[must_use]
pub fn patterns<M: crate::Addressed>() -> Vec<String> {
    [M::SUBJECT, M::ALIAS]
        .into_iter()
        .filter(|template| !template.is_empty())
        .map(pattern)
        .collect()
}

/// Whether every subject that fits `pattern` also fits `wider`.
#[must_use]
pub fn covers(wider: &str, pattern: &str) -> bool {
    let (mut wide, mut narrow) = (wider.split('.'), pattern.split('.'));
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// Whether some subject fits both patterns.
#[must_use]
pub fn overlaps(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.split('.'), b.split('.'));
    loop {
        match (a.next(), b.next()) {
            (None, None) => return true,
            (Some(">"), Some(_)) | (Some(_), Some(">")) => return true,
            (Some("*"), Some(_)) | (Some(_), Some("*")) => {}
            (Some(a), Some(b)) if a == b => {}
            _ => return false,
        }
    }
}

/// One token made of any text: readable where it can be, and different for different texts.
#[must_use]
pub fn derived_token(text: &str) -> String {
    use sha2::{Digest, Sha256};
    let readable: String = text
        .chars()
        .filter_map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                Some(c)
            } else if c == '/' {
                Some('-')
            } else {
                None
            }
        })
        .take(40)
        .collect();
    let hash: String =
        Sha256::digest(text.as_bytes()).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{hash}", readable.trim_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_values_are_no_tokens() {
        for value in ["", "a.b", "*", ">", "a b", "a\tb", "a\u{0}b", &"x".repeat(10_000)] {
            assert!(token("id", value).is_err(), "{value:?}");
        }
        assert_eq!(token("id", "a-1_b"), Ok("a-1_b"));
        // Who sent it knows of no subjects.
        assert_eq!(
            token("execution id", "a b").unwrap_err().to_string(),
            "`execution id` is \"a b\", but an id or a name has 1 to 128 bytes and none of `.`, `*`, `>`, white space and control characters"
        );
    }

    #[test]
    fn patterns_cover_and_overlap() {
        assert!(covers("timer.*.*", "timer.fired.*"));
        assert!(!covers("timer.*", "timer.fired.*"));
        assert!(covers("a.>", "a.b.c"));
        assert!(!covers("a.>", "a"));
        assert!(overlaps("agent.*.status", "agent.x.*"));
        assert!(!overlaps("agent.*.status", "agent.x"));
    }

    #[test]
    fn derived_tokens_are_tokens_and_differ() {
        let (a, b) =
            (derived_token("/do/1/loop[2]/review@1"), derived_token("/do/1/loop[2]/review@2"));
        assert_ne!(a, b);
        assert!(token("t", &a).is_ok());
        assert!(token("t", &derived_token("é.*>")).is_ok());
    }
}
