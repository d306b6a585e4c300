//! Cutting a document into chunks.

use text_splitter::{ChunkConfig, MarkdownSplitter};

use super::Problem;

/// The longest chunk, in characters: some 250 tokens of English prose.
const MAX_CHARACTERS: usize = 1000;

/// What the headings before a chunk may add to it, in bytes.
const MAX_HEADINGS: usize = 300;

/// What a chunk repeats of the one before it at most, in characters, so that a sentence on the border is found.
const OVERLAP: usize = 150;

/// A piece of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chunk {
    /// Its text, without white space around it.
    pub(crate) text: String,
    /// Its length by the o200k tokenizer.
    pub(crate) tokens: u32,
}

/// The splitter looks at all that is left again and again: it gets so many bytes at a time, which is some ten pages.
const BLOCK: usize = 16 << 10;

/// Cuts a text where Markdown (or plain text, which is Markdown without marks) has its seams: headings,
/// paragraphs, sentences, words. CPU-bound: some 100 ms for a MiB.
pub(crate) fn chunks(text: &str) -> Result<Vec<Chunk>, Problem> {
    let config = ChunkConfig::new(MAX_CHARACTERS)
        .with_overlap(OVERLAP)
        .map_err(|error| Problem::new(format!("the sizes of chunks do not fit: {error}")))?;
    let splitter = MarkdownSplitter::new(config);
    let mut chunks = Vec::new();
    let mut headings = String::new();
    for text in
        blocks(text).flat_map(|block| splitter.chunks(block)).filter(|text| !text.is_empty())
    {
        headings.push_str(text);
        if is_heading(text) && headings.len() < MAX_HEADINGS {
            headings.push_str("\n\n");
        } else {
            chunks.push(Chunk::new(std::mem::take(&mut headings)));
        }
    }
    if !headings.is_empty() {
        chunks.push(Chunk::new(headings.trim_end().to_owned()));
    }
    Ok(chunks)
}

/// The text in pieces of at most [`BLOCK`] bytes, cut where that does the least harm.
fn blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (block, behind) =
            rest.split_at_checked(seam(rest)).filter(|(block, _)| !block.is_empty())?;
        rest = behind;
        Some(block)
    })
}

/// Where the first block of a text ends.
fn seam(text: &str) -> usize {
    let window = text.get(..text.floor_char_boundary(BLOCK)).unwrap_or(text);
    if let Some(endless) = endless_word(window) {
        return endless;
    }
    if window.len() == text.len() {
        return text.len();
    }
    let late = |seam: &usize| *seam >= BLOCK / 2;
    let after = |mark: &str| window.rfind(mark).map(|at| at + mark.len()).filter(late);
    ["\n\n", "\n", ". ", " "].into_iter().find_map(after).unwrap_or(window.len())
}

/// Where to cut a text because of a word that no language has: in front of it, or inside it.
fn endless_word(window: &str) -> Option<usize> {
    let (mut start, mut length) = (0, 0);
    for (at, character) in window.char_indices() {
        if !character.is_alphanumeric() {
            (start, length) = (at + character.len_utf8(), 0);
            continue;
        }
        length += 1;
        if length > MAX_CHARACTERS {
            return Some(if start == 0 { at } else { start });
        }
    }
    None
}

impl Chunk {
    fn new(text: String) -> Self {
        let tokens = muster_text::tokens::count(&text);
        Self { text, tokens: u32::try_from(tokens).unwrap_or(u32::MAX) }
    }
}

/// A heading by itself answers nothing, however well it fits a question: it goes with the text below it.
fn is_heading(text: &str) -> bool {
    text.lines().all(|line| line.is_empty() || line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_becomes_chunks_of_bounded_size_that_hold_every_word() {
        let text: String = (0..2000).map(|n| format!("Sentence number{n} stands here. ")).collect();
        let chunks = chunks(&text).unwrap();
        assert!(chunks.len() > 50, "{}", chunks.len());
        for chunk in &chunks {
            assert!(chunk.text.chars().count() <= MAX_CHARACTERS);
            assert!(chunk.tokens > 0);
        }
        for n in 0..2000 {
            let word = format!("number{n} ");
            assert!(chunks.iter().any(|chunk| chunk.text.contains(&word)), "{word}");
        }
    }

    #[test]
    fn neighbours_overlap() {
        let text: String = (0..400).map(|n| format!("Sentence number{n} stands here. ")).collect();
        let chunks = chunks(&text).unwrap();
        let [first, second, ..] = chunks.as_slice() else { panic!("{chunks:?}") };
        let last = first.text.rsplit(". ").next().unwrap();
        assert!(second.text.contains(last.trim_end_matches('.')), "{last}");
    }

    #[test]
    fn a_word_without_end_and_other_alphabets_are_cut_too() {
        for text in ["x".repeat(50_000), "語".repeat(5000), "🦀".repeat(3000)] {
            let chunks = chunks(&text).unwrap();
            assert!(chunks.iter().all(|chunk| chunk.text.chars().count() <= MAX_CHARACTERS));
            assert!(chunks.len() > 2);
        }
    }

    #[test]
    fn seams_stand_where_the_text_has_them() {
        let check = |text: &str, expected: &[usize]| {
            let lengths: Vec<usize> = blocks(text).map(str::len).collect();
            assert_eq!(lengths, expected);
            assert_eq!(blocks(text).collect::<String>(), text);
        };
        let half = "word ".repeat(BLOCK / 9);
        let half_length = half.len();
        check("", &[]);
        check("short", &[5]);
        check(
            &format!("{half}\n\n{half}\n{half}"),
            &[half_length + 2, half_length + 1, half_length],
        );
        check(&format!("{half}\n{half}"), &[half_length + 1, half_length]);
        check(&"語。".repeat(BLOCK / 3), &[BLOCK - 1, BLOCK - 1]);
        check(&format!("so {} on", "x".repeat(2_500)), &[3, 1_000, 1_000, 503]);
    }

    #[test]
    fn hostile_texts_are_cut_in_time_that_grows_with_their_length_alone() {
        for text in ["x".repeat(2 << 20), "word ".repeat(60_000), ">".repeat(200_000)] {
            let longest = blocks(&text).map(str::len).max().unwrap();
            assert!(longest <= BLOCK, "{longest}");
            let chunks = chunks(&text).unwrap();
            assert!(chunks.iter().all(|chunk| chunk.text.chars().count() <= MAX_CHARACTERS));
        }
    }

    #[test]
    fn headings_go_with_the_text_below_them() {
        let text = format!("# One\n\n## Two\n\n{}\n\n# Last\n", "Words of a sentence. ".repeat(60));
        let chunks = chunks(&text).unwrap();
        let [first, .., last] = chunks.as_slice() else { panic!("{chunks:?}") };
        assert!(first.text.starts_with("# One\n\n## Two\n\nWords of"), "{}", first.text);
        assert!(last.text.ends_with("# Last"), "{}", last.text);
    }

    #[test]
    fn a_short_text_is_one_chunk() {
        let chunks = chunks("# Title\n\nOne line.\n").unwrap();
        assert_eq!(
            chunks.iter().map(|chunk| chunk.text.as_str()).collect::<Vec<_>>(),
            ["# Title\n\nOne line."]
        );
    }
}
