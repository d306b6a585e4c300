//! Subjects: templates, tokens and patterns.

/// The longest token, in bytes.
pub const MAX_TOKEN: usize = 128;

/// A value that cannot be a token of a subject.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{field}` is {value:?}, but a token of a subject has 1 to {MAX_TOKEN} bytes and none of `.`, `*`, `>`, white space and control characters"
)]
pub struct SubjectError {
    field: &'static str,
    value: String,
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
    if good {
        Ok(value)
    } else {
        Err(SubjectError { field, value: value.chars().take(64).collect() })
    }
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
