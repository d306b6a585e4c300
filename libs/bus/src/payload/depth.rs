//! How deep a body may be nested: nothing is written that nobody could read.

use muster_contracts::{Code, Fault};

/// Readers of JSON go no further (serde_json: 127).
const DEEPEST: usize = 127;

/// Refuses JSON that is nested deeper than readers go. `what` is what people call it.
///
/// # Errors
/// INVALID where it is.
pub(crate) fn check_depth(what: impl std::fmt::Display, json: &[u8]) -> Result<(), Fault> {
    if is_deeper_than(json, DEEPEST) {
        let text = format!("{what} is nested deeper than {DEEPEST} levels: nobody could read it");
        return Err(Fault::new(Code::Invalid, text));
    }
    Ok(())
}

/// Whether JSON is nested deeper than so many levels. Mostly it has fewer brackets than that at all.
fn is_deeper_than(json: &[u8], most: usize) -> bool {
    if json.iter().filter(|byte| matches!(byte, b'{' | b'[')).count() <= most {
        return false;
    }
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    json.iter().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => depth += 1,
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > most
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_can_be_written_can_be_read() {
        let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        let text = format!("[{:?}, \"\\\"\", {{}}]", "[{\\".repeat(200));
        let many = format!("[{}]", vec!["{}"; 500].join(","));
        for (json, is_deep) in [
            (nested(127), false),
            (nested(128), true),
            (nested(500), true),
            (text, false),
            (many, false),
        ] {
            assert_eq!(check_depth("it", json.as_bytes()).is_err(), is_deep, "{json}");
            assert_eq!(serde_json::from_str::<Value>(&json).is_err(), is_deep, "{json}");
        }
    }
}
