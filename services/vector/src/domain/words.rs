//! Text as the search by words sees it.

/// The text in lower case, with a space for whatever is no letter, no digit and not ASCII.
///
/// Postgres leaves this to the locale of the database: with `C`, `“Zebra”` would be another word than `zebra`.
pub(crate) fn folded(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // A soft hyphen parts no word, and an accent belongs to its letter.
            '\u{ad}' => {}
            '\u{300}'..='\u{36f}' => folded.push(letter),
            _ if letter.is_ascii() => folded.push(letter.to_ascii_lowercase()),
            _ if letter.is_alphanumeric() => folded.extend(letter.to_lowercase()),
            _ => folded.push(' '),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typography_parts_words_and_operators_stay() {
        for (text, expected) in [
            ("“Zebra”—Ärger…", " zebra  ärger "),
            ("\"Two Words\" -not", "\"two words\" -not"),
            ("Wort\u{ad}teil 語", "wortteil 語"),
        ] {
            assert_eq!(folded(text), expected);
        }
    }
}
