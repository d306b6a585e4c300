//! Tokens by o200k, the table of GPT-4o.

use std::iter;

use tiktoken_rs::o200k_base_singleton;

/// How many bytes are encoded at once. The table's expression keeps a place to come back to for each blank of a run, and a
/// million of them is more than it can keep.
const PIECE: usize = 100_000;

/// How many tokens a text has. CPU-bound: the first call loads the table, and a MiB takes some 100 ms.
///
/// Texts of more than 100,000 bytes are counted in pieces, which part where tokens part anyhow: before a blank that ends
/// a word, or behind the end of a line. Only where 100,000 bytes have no such place (one long word, one long run of white
/// space) may the count differ from that of the whole, by some token for each such seam.
#[must_use]
pub fn count(text: &str) -> usize {
    pieces(text).map(|piece| o200k_base_singleton().count_ordinary(piece)).sum()
}

/// The text's first `limit` tokens, counted as [`count`] does, or `None` where it has no more than that.
#[must_use]
pub fn cut(text: &str, limit: usize) -> Option<String> {
    let mut tokens = Vec::new();
    for piece in pieces(text) {
        tokens.extend(o200k_base_singleton().encode_ordinary(piece));
        if tokens.len() > limit {
            break;
        }
    }
    let kept = tokens.get(..limit).filter(|_| tokens.len() > limit)?;
    let bytes = o200k_base_singleton().decode_bytes(kept).unwrap_or_default();
    // The last token may end within a character.
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').to_owned())
}

/// The text in parts of at most [`PIECE`] bytes.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    iter::from_fn(move || {
        let (piece, after) = rest.split_at(seam(rest));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Where the first piece ends: at the last place in reach where no token goes across, else as far as it may.
fn seam(text: &str) -> usize {
    if text.len() <= PIECE {
        return text.len();
    }
    let most = text.floor_char_boundary(PIECE);
    let (reach, _) = text.split_at(most);
    let mut letters = reach.char_indices().rev().peekable();
    while let Some((at, letter)) = letters.next() {
        if letters.peek().is_some_and(|(_, before)| parts(*before, letter)) {
            return at;
        }
    }
    most
}

/// Whether the table's expression always ends a match between two letters: none of its matches has a blank behind
/// something else than white space, and none goes on behind the end of a line but with white space or a slash.
fn parts(before: char, letter: char) -> bool {
    match letter {
        ' ' => !before.is_whitespace(),
        letter => before == '\n' && letter != '/' && !letter.is_whitespace(),
    }
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

    #[test]
    fn long_runs_and_long_words_are_counted() {
        const MANY: usize = 1_000_000;
        let (blanks, tabs) = (" ".repeat(MANY), "\t".repeat(MANY));
        let texts = [
            format!("x{blanks}y"),
            format!("x{tabs}y"),
            blanks,
            tabs,
            "\n".repeat(MANY),
            " \n".repeat(MANY / 2),
            "a".repeat(MANY),
            "A".repeat(MANY),
            "é".repeat(MANY / 2),
            "蜂".repeat(MANY / 3),
            "!".repeat(MANY),
        ];
        for text in texts {
            let start: String = text.chars().take(3).collect();
            let tokens = count(&text);
            assert!((1_000..=MANY).contains(&tokens), "{start:?}: {tokens}");
            assert!(text.starts_with(&cut(&text, 900).unwrap()), "{start:?}");
            assert_eq!(cut(&text, tokens), None, "{start:?}");
            assert_eq!(pieces(&text).collect::<String>(), text, "{start:?}");
            assert!(pieces(&text).all(|piece| piece.len() <= PIECE), "{start:?}");
        }
    }

    #[test]
    fn ordinary_texts_are_counted_as_in_one() {
        assert_eq!((count(""), cut("", 0)), (0, None));
        for text in [
            "The bees' work isn't done:  7654321 of them fly -- far/away!\n\n  - Größe,\tÉTÉ 🦀\r\n",
            "蜂は遠くへ飛ぶ。\n蜂蜜、三十二。//\n/かもしれない\n \n!",
            "fn main() {\n    let x = \"a b\";  // why?\n/// no\n\n}\n",
        ] {
            let text = text.repeat(2 * PIECE / text.len() + 2);
            assert!(pieces(&text).count() > 2);
            let whole = o200k_base_singleton().encode_ordinary(&text);
            let parted: Vec<_> = pieces(&text)
                .flat_map(|piece| o200k_base_singleton().encode_ordinary(piece))
                .collect();
            assert!(parted == whole, "{text:.40}");
            assert_eq!(count(&text), whole.len());
        }
    }
}
