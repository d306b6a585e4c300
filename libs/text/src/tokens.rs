//! Tokens by o200k, the table of GPT-4o.

use tiktoken_rs::o200k_base_singleton;

/// How many tokens a text has. CPU-bound: the first call loads the table, and a MiB takes some 100 ms.
#[must_use]
pub fn count(text: &str) -> usize {
    o200k_base_singleton().count_ordinary(text)
}

/// The text's first `limit` tokens, or `None` where it has no more than that.
#[must_use]
pub fn cut(text: &str, limit: usize) -> Option<String> {
    let tokens = o200k_base_singleton().encode_ordinary(text);
    let kept = tokens.get(..limit).filter(|_| tokens.len() > limit)?;
    let bytes = o200k_base_singleton().decode_bytes(kept).unwrap_or_default();
    // The last token may end within a character.
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_token_and_at_a_character() {
        assert_eq!(count("Bees fly far."), 5);
        assert_eq!(cut("Bees fly far.", 2).as_deref(), Some("Bees"));
        assert_eq!(cut("Bees fly far.", 5), None);
        assert!(!cut("🦀🦀🦀🦀", 1).unwrap().contains('\u{fffd}'));
    }
}
