//! Sentences, words and extractive summaries: what the offline provider knows about language.

use std::collections::{BTreeMap, BTreeSet};

/// Words that say nothing about a text's subject.
const STOP_WORDS: &[&str] = &[
    "about",
    "above",
    "after",
    "again",
    "against",
    "all",
    "also",
    "although",
    "among",
    "and",
    "any",
    "are",
    "because",
    "been",
    "before",
    "being",
    "below",
    "between",
    "both",
    "but",
    "can",
    "cannot",
    "could",
    "did",
    "does",
    "doing",
    "down",
    "during",
    "each",
    "either",
    "even",
    "every",
    "few",
    "for",
    "from",
    "further",
    "had",
    "has",
    "have",
    "having",
    "her",
    "here",
    "hers",
    "him",
    "his",
    "how",
    "however",
    "into",
    "its",
    "itself",
    "just",
    "less",
    "like",
    "made",
    "make",
    "many",
    "may",
    "might",
    "more",
    "most",
    "much",
    "must",
    "nor",
    "not",
    "now",
    "off",
    "often",
    "once",
    "one",
    "only",
    "other",
    "our",
    "out",
    "over",
    "own",
    "per",
    "rather",
    "same",
    "she",
    "should",
    "since",
    "some",
    "still",
    "such",
    "than",
    "that",
    "the",
    "their",
    "them",
    "then",
    "there",
    "therefore",
    "these",
    "they",
    "this",
    "those",
    "through",
    "thus",
    "too",
    "two",
    "under",
    "until",
    "upon",
    "use",
    "used",
    "using",
    "very",
    "was",
    "well",
    "were",
    "what",
    "when",
    "where",
    "whether",
    "which",
    "while",
    "who",
    "whom",
    "why",
    "will",
    "with",
    "within",
    "without",
    "would",
    "yet",
    "you",
    "your",
];

/// Abbreviations after which a full stop ends nothing.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "cf", "vs", "dr", "mr", "mrs", "ms", "prof", "st", "no", "fig", "approx",
    "ca", "vol",
];

/// The sentences of a text in their order. Headings, tables, code and the marks of lists are left out.
pub(crate) fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut code = false;
    for paragraph in paragraphs(text) {
        if paragraph.starts_with("```") {
            code = !code;
            continue;
        }
        if !code && !paragraph.starts_with('#') && !paragraph.starts_with('|') {
            split_sentences(paragraph, &mut found);
        }
    }
    found
}

/// Pieces of text that no sentence crosses: lines of prose that follow one another belong together, every list item stands alone.
fn paragraphs(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let alone = trimmed.is_empty()
            || trimmed.starts_with(['#', '|', '`', '>'])
            || list_mark(trimmed) > 0;
        if alone && let Some(from) = start.take() {
            found.extend(text.get(from..position));
        }
        let indent = line.len() - line.trim_start().len();
        let content = position + indent + list_mark(trimmed);
        if trimmed.starts_with(['#', '|', '`']) {
            found.extend(text.get(content..position + line.len()));
        } else if !trimmed.is_empty() && start.is_none() {
            start = Some(content);
        }
        position += line.len();
    }
    found.extend(start.and_then(|from| text.get(from..)));
    found.into_iter().map(str::trim).filter(|paragraph| !paragraph.is_empty()).collect()
}

/// How many bytes the mark of a list item or of a quotation takes: `- `, `* `, `3. `, `> `.
fn list_mark(line: &str) -> usize {
    for mark in ["- ", "* ", "+ ", "> "] {
        if line.starts_with(mark) {
            return mark.len();
        }
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = line.get(digits..).unwrap_or_default();
    if (1..=3).contains(&digits) && (rest.starts_with(". ") || rest.starts_with(") ")) {
        digits + 2
    } else {
        0
    }
}

fn split_sentences<'a>(paragraph: &'a str, found: &mut Vec<&'a str>) {
    let mut start = 0;
    let mut characters = paragraph.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if !matches!(character, '.' | '!' | '?' | '…' | '。') {
            continue;
        }
        let mut end = at + character.len_utf8();
        while let Some((next, closing)) = characters
            .next_if(|(_, c)| matches!(c, '"' | '\'' | '”' | '’' | ')' | ']' | '.' | '!' | '?'))
        {
            end = next + closing.len_utf8();
        }
        let after = paragraph.get(end..).unwrap_or_default();
        let ends = after.is_empty() || after.starts_with(char::is_whitespace) || character == '。';
        let goes_on = after.trim_start().starts_with(|c: char| c.is_lowercase());
        if !ends
            || goes_on
            || (character == '.' && abbreviated(paragraph.get(start..at).unwrap_or_default()))
        {
            continue;
        }
        found.extend(
            paragraph.get(start..end).map(str::trim).filter(|sentence| !sentence.is_empty()),
        );
        start = end;
    }
    let rest = paragraph.get(start..).unwrap_or_default().trim();
    if rest.chars().any(char::is_alphanumeric) {
        found.push(rest);
    }
}

fn abbreviated(before: &str) -> bool {
    let word = before.rsplit(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default();
    let lower = word.to_lowercase();
    // A single letter is an initial.
    ABBREVIATIONS.contains(&lower.as_str())
        || (word.chars().count() == 1 && word.chars().all(char::is_uppercase))
}

/// The words of a text in lower case.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

fn meaningful(word: &str) -> bool {
    word.chars().count() > 2
        && !word.chars().all(|c| c.is_ascii_digit())
        && !STOP_WORDS.contains(&word)
}

/// The word without the endings of plurals and verbs, so that `models` and `modelled` meet `model`.
pub(crate) fn stem(word: &str) -> String {
    let long = |rest: &str| rest.chars().count() >= 3;
    for (ending, replacement) in [
        ("ies", "y"),
        ("sses", "ss"),
        ("ing", ""),
        ("edly", ""),
        ("ed", ""),
        ("es", ""),
        ("ly", ""),
        ("s", ""),
    ] {
        if let Some(rest) = word.strip_suffix(ending).filter(|rest| long(rest)) {
            if ending == "s" && rest.ends_with('s') {
                break;
            }
            return undouble(&format!("{rest}{replacement}"));
        }
    }
    undouble(word)
}

/// `planned` and `plan` become alike, and so do `cache` and `caches`.
fn undouble(word: &str) -> String {
    let word = word.strip_suffix('e').filter(|rest| rest.chars().count() >= 3).unwrap_or(word);
    let mut end = word.chars().rev();
    match (end.next(), end.next()) {
        (Some(a), Some(b)) if a == b && a.is_ascii_alphabetic() && word.len() > 3 => {
            word.get(..word.len() - 1).unwrap_or(word).to_owned()
        }
        _ => word.to_owned(),
    }
}

/// How often each stem that means something occurs.
fn frequencies(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in words(text).filter(|word| meaningful(word)) {
        *counts.entry(stem(&word)).or_insert(0) += 1;
    }
    counts
}

/// The `n` most frequent words that mean something, the most frequent first, equals in the order of the alphabet.
pub(crate) fn keywords(text: &str, n: usize) -> Vec<String> {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for word in words(text).filter(|word| meaningful(word)) {
        let entry = counts.entry(stem(&word)).or_insert_with(|| (0, word.clone()));
        entry.0 += 1;
        // The shortest form stands for all: `model` for `models`.
        if (word.len(), &word) < (entry.1.len(), &entry.1) {
            entry.1 = word;
        }
    }
    let mut ranked: Vec<_> = counts.into_values().collect();
    ranked.sort_by(|(a, x), (b, y)| b.cmp(a).then_with(|| x.cmp(y)));
    ranked.into_iter().take(n).map(|(_, word)| word).collect()
}

/// Whether the text has every word of `term`, in any form.
pub(crate) fn covers(text: &str, term: &str) -> bool {
    let have: BTreeSet<String> = words(text).map(|word| stem(&word)).collect();
    let mut wanted = words(term).peekable();
    wanted.peek().is_some() && wanted.all(|word| have.contains(&stem(&word)))
}

/// The `n` best sentences in their order, joined by blanks.
///
/// A sentence is as good as its words are frequent in the whole text, by the root of its length so that long sentences do not
/// win by their length; a word of `about` counts more than any other. A sentence that says what a chosen one says is skipped.
pub(crate) fn summary(text: &str, n: usize, about: &str) -> String {
    let sentences = sentences(text);
    let counts = frequencies(text);
    let top = counts.values().copied().max().unwrap_or(1);
    let about: BTreeSet<String> = frequencies(about).into_keys().collect();
    let mut ranked: Vec<_> = sentences
        .iter()
        .enumerate()
        .map(|(at, sentence)| {
            let stems: BTreeSet<String> = frequencies(sentence).into_keys().collect();
            let weight = |stem: &String| {
                counts.get(stem).copied().unwrap_or_default()
                    + if about.contains(stem) { 4 * top } else { 0 }
            };
            let total: usize = stems.iter().map(weight).sum();
            // Scaled integers keep the order the same on every machine.
            let score =
                (total * 1_000).checked_div((stems.len().max(4) * 100).isqrt()).unwrap_or_default();
            (score, at, *sentence, stems)
        })
        .collect();
    ranked.sort_by(|(a, i, ..), (b, j, ..)| b.cmp(a).then_with(|| i.cmp(j)));
    let mut chosen: Vec<(usize, &str, BTreeSet<String>)> = Vec::new();
    for (_, at, sentence, stems) in ranked {
        if chosen.len() == n {
            break;
        }
        if !chosen.iter().any(|(_, _, other)| alike(other, &stems)) {
            chosen.push((at, sentence, stems));
        }
    }
    chosen.sort_by_key(|(at, ..)| *at);
    let chosen: Vec<String> =
        chosen.into_iter().map(|(_, sentence, _)| one_line(sentence)).collect();
    chosen.join(" ")
}

/// Whether two sentences share nearly all of their words.
fn alike(a: &BTreeSet<String>, b: &BTreeSet<String>) -> bool {
    let shared = a.intersection(b).count();
    shared > 0 && shared * 10 >= a.len().max(b.len()) * 8
}

fn one_line(sentence: &str) -> String {
    sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_tables_and_code_are_no_sentences() {
        let text = "# A title. Really\n\nFirst one here. Dr. Who met J. Smith at 3.5 km, e.g. by train! \"Was it?\" Yes\n\n- an item\n2. second item.\n\n```\nlet x = 1. 2;\n```\n| a. b | c |\nwrapped\nline.";
        assert_eq!(
            sentences(text),
            [
                "First one here.",
                "Dr. Who met J. Smith at 3.5 km, e.g. by train!",
                "\"Was it?\"",
                "Yes",
                "an item",
                "second item.",
                "wrapped\nline."
            ]
        );
        assert!(sentences("").is_empty());
    }

    #[test]
    fn forms_of_a_word_meet() {
        for (a, b) in [
            ("models", "model"),
            ("modelled", "model"),
            ("policies", "policy"),
            ("planned", "plan"),
            ("caches", "cache"),
            ("caching", "cache"),
            ("classes", "class"),
        ] {
            assert_eq!(stem(a), stem(b), "{a} {b}");
        }
        assert!(covers("The lighthouses were automated.", "automated lighthouse"));
        assert!(!covers("The lighthouses were automated.", "lamp"));
        assert!(!covers("anything", "  "));
    }

    #[test]
    fn a_summary_keeps_the_order_and_prefers_what_it_is_about() {
        let text = "Lamps need oil. The harbour lamp burns oil all night. Cats sleep. Oil for the lamp comes by boat. Fog hides the rocks.";
        assert_eq!(
            summary(text, 2, ""),
            "The harbour lamp burns oil all night. Oil for the lamp comes by boat."
        );
        assert_eq!(summary(text, 1, "rocks in the fog"), "Fog hides the rocks.");
        assert_eq!(summary("", 3, ""), "");
        assert_eq!(summary("Twice told. Twice told.", 2, ""), "Twice told.");
    }

    #[test]
    fn keywords_are_the_frequent_words_in_their_shortest_form() {
        assert_eq!(keywords("Lamps and lamp oil; the lamps of 1820, oil.", 2), ["lamp", "oil"]);
    }
}
