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

/// Cuts a text where Markdown (or plain text, which is Markdown without marks) has its seams: headings,
/// paragraphs, sentences, words. CPU-bound: some 100 ms for a MiB.
pub(crate) fn chunks(text: &str) -> Result<Vec<Chunk>, Problem> {
    let config = ChunkConfig::new(MAX_CHARACTERS)
        .with_overlap(OVERLAP)
        .map_err(|error| Problem::new(format!("the sizes of chunks do not fit: {error}")))?;
    let splitter = MarkdownSplitter::new(config);
    let mut chunks = Vec::new();
    let mut headings = String::new();
    for text in splitter.chunks(text).filter(|text| !text.is_empty()) {
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

impl Chunk {
    fn new(text: String) -> Self {
        let tokens = tiktoken_rs::o200k_base_singleton().count_ordinary(&text);
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
