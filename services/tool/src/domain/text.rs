//! Reading texts: words, headings, citations, coverage, tokens.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tiktoken_rs::o200k_base_singleton;

/// Words that say nothing about a text's subject.
const STOP_WORDS: &[&str] = &[
    "about", "after", "all", "also", "and", "any", "are", "because", "been", "before", "between",
    "both", "but", "can", "could", "does", "each", "every", "for", "from", "had", "has", "have",
    "her", "his", "how", "into", "its", "just", "like", "made", "many", "may", "more", "most",
    "much", "not", "now", "one", "only", "other", "our", "out", "over", "same", "she", "should",
    "since", "some", "such", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "through", "too", "two", "under", "until", "very", "was", "were",
    "what", "when", "where", "which", "while", "who", "why", "will", "with", "would", "you",
    "your",
];

/// The tokens of a text by the o200k tokenizer.
pub(crate) fn tokens(text: &str) -> usize {
    o200k_base_singleton().count_ordinary(text)
}

/// The text's first `limit` tokens, or `None` where it has no more than that.
pub(crate) fn cut(text: &str, limit: usize) -> Option<String> {
    let tokens = o200k_base_singleton().encode_ordinary(text);
    let kept = tokens.get(..limit).filter(|_| tokens.len() > limit)?;
    let bytes = o200k_base_singleton().decode_bytes(kept).unwrap_or_default();
    // The last token may end within a character.
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\u{fffd}').to_owned())
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The words of a text without the endings of plurals and verbs.
pub(crate) fn stems(text: &str) -> impl Iterator<Item = String> {
    words(text).map(|word| stem(&word))
}

fn stem(word: &str) -> String {
    let long = |rest: &&str| rest.chars().count() >= 3;
    let endings = [
        ("ies", "y"),
        ("sses", "ss"),
        ("ing", ""),
        ("edly", ""),
        ("ed", ""),
        ("es", ""),
        ("ly", ""),
        ("s", ""),
    ];
    for (ending, instead) in endings {
        if let Some(rest) = word.strip_suffix(ending).filter(long) {
            if ending == "s" && rest.ends_with('s') {
                break;
            }
            return root(&format!("{rest}{instead}"));
        }
    }
    root(word)
}

/// `planned` and `plan` become alike, and so do `cache` and `caches`.
fn root(word: &str) -> String {
    let word = word.strip_suffix('e').filter(|rest| rest.chars().count() >= 3).unwrap_or(word);
    let mut end = word.chars().rev();
    match (end.next(), end.next()) {
        (Some(a), Some(b)) if a == b && a.is_ascii_alphabetic() && word.len() > 3 => {
            word.get(..word.len() - 1).unwrap_or(word).to_owned()
        }
        _ => word.to_owned(),
    }
}

/// A heading of Markdown.
pub(crate) struct Heading<'a> {
    pub(crate) title: &'a str,
    /// 1 to 6.
    pub(crate) level: usize,
    /// Where its line begins, in bytes.
    pub(crate) start: usize,
}

/// The headings of a text in their order; those in code are none.
pub(crate) fn headings(text: &str) -> Vec<Heading<'_>> {
    let (mut found, mut start, mut code) = (Vec::new(), 0, false);
    for line in text.split_inclusive('\n') {
        code ^= line.trim_start().starts_with("```");
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        let rest = line.get(level..).unwrap_or_default();
        if !code && (1..=6).contains(&level) && rest.starts_with([' ', '\t']) {
            found.push(Heading { title: rest.trim().trim_end_matches('#').trim(), level, start });
        }
        start += line.len();
    }
    found
}

/// Figures about a text.
pub(crate) fn stats(text: &str) -> Value {
    let titles: Vec<_> = headings(text).into_iter().map(|heading| heading.title).collect();
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty()).count();
    let terms: Vec<_> = top_terms(text, 20)
        .into_iter()
        .map(|(count, term)| json!({ "term": term, "count": count }))
        .collect();
    json!({
        "words": words(text).count(),
        "sentences": sentences(text),
        "paragraphs": paragraphs,
        "tokens": tokens(text),
        "headings": titles,
        "citations": citations(text),
        "top_terms": terms,
    })
}

/// Ends of sentences: a mark that white space or the end follows.
fn sentences(text: &str) -> usize {
    let mut count = 0;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        let end = letters
            .peek()
            .is_none_or(|next| next.is_whitespace() || matches!(next, '"' | ')' | '”'));
        count += usize::from(matches!(letter, '.' | '!' | '?' | '…') && end);
    }
    count
}

/// The numbers of the marks `[n]`, each once, in their order of size.
fn citations(text: &str) -> BTreeSet<u32> {
    let marks = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    marks
        .flat_map(|(inner, _)| inner.split(','))
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

fn top_terms(text: &str, n: usize) -> Vec<(usize, String)> {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let telling = |word: &String| {
        word.chars().count() > 2
            && !word.chars().all(|c| c.is_ascii_digit())
            && !STOP_WORDS.contains(&word.as_str())
    };
    for word in words(text).filter(telling) {
        let entry = counts.entry(stem(&word)).or_insert_with(|| (0, word.clone()));
        entry.0 += 1;
        // The shortest form stands for all: `model` for `models`.
        if (word.len(), &word) < (entry.1.len(), &entry.1) {
            entry.1 = word;
        }
    }
    let mut ranked: Vec<_> = counts.into_values().collect();
    ranked.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    ranked.truncate(n);
    ranked
}

/// Which terms a text has: a term is there where all of its words are, in any form.
pub(crate) fn coverage(text: &str, terms: &[String]) -> Value {
    let have: BTreeSet<String> = stems(text).collect();
    let (covered, missing): (Vec<_>, Vec<_>) = terms.iter().partition(|term| {
        let mut wanted = stems(term).peekable();
        wanted.peek().is_some() && wanted.all(|stem| have.contains(&stem))
    });
    let coverage = if terms.is_empty() { 1.0 } else { covered.len() as f64 / terms.len() as f64 };
    json!({ "covered": covered, "missing": missing, "coverage": coverage })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted() {
        let stats =
            stats("# Boats\n\nBoats come [1]. The boat goes [3, 12]!\n\n```\n# no heading\n```\n");
        assert_eq!(stats["headings"], json!(["Boats"]));
        assert_eq!(stats["citations"], json!([1, 3, 12]));
        assert_eq!(stats["top_terms"][0], json!({ "term": "boat", "count": 3 }));
        assert_eq!((&stats["sentences"], &stats["paragraphs"]), (&json!(2), &json!(3)));
    }

    #[test]
    fn coverage_heeds_neither_case_nor_endings() {
        let terms = ["Harbour lights", "planning", "fog", ""].map(str::to_owned);
        let result = coverage("We planned the HARBOUR's light.", &terms);
        assert_eq!(
            result,
            json!({ "covered": ["Harbour lights", "planning"], "missing": ["fog", ""], "coverage": 0.5 })
        );
    }
}
