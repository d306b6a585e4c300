//! Reading texts: headings, citations, coverage, figures.

use std::collections::BTreeSet;

use muster_text::{covers, sentences, stems, tokens, top_terms, words};
use serde_json::{Value, json};

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
        "sentences": sentences(text).len(),
        "paragraphs": paragraphs,
        "tokens": tokens::count(text),
        "headings": titles,
        "citations": citations(text),
        "top_terms": terms,
    })
}

/// The numbers of the marks `[n]`, each once, in their order of size.
fn citations(text: &str) -> BTreeSet<u32> {
    let marks = text.split('[').skip(1).filter_map(|rest| rest.split_once(']'));
    marks
        .flat_map(|(inner, _)| inner.split(','))
        .filter_map(|number| number.trim().parse().ok())
        .collect()
}

/// Which terms a text has: a term is there where all of its words are, in any form.
pub(crate) fn coverage(text: &str, terms: &[String]) -> Value {
    let have = stems(text);
    let (covered, missing): (Vec<_>, Vec<_>) = terms.iter().partition(|term| covers(&have, term));
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
