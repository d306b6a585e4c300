//! Words, their stems, and which of them a text is about.

use std::collections::{BTreeMap, BTreeSet};

use rust_stemmers::{Algorithm, Stemmer};

/// Words that say nothing about a text's subject.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "about", "above", "after", "again", "against", "all", "also", "although", "among", "and", "any", "are",
    "because", "been", "before", "being", "below", "between", "both", "but", "can", "cannot", "could", "did",
    "does", "doing", "down", "during", "each", "either", "even", "every", "few", "for", "from", "further", "had",
    "has", "have", "having", "her", "here", "hers", "him", "his", "how", "however", "into", "its", "itself",
    "just", "less", "like", "made", "make", "many", "may", "might", "more", "most", "much", "must", "nor", "not",
    "now", "off", "often", "once", "one", "only", "other", "our", "out", "over", "own", "per", "rather", "same",
    "she", "should", "since", "some", "still", "such", "than", "that", "the", "their", "them", "then", "there",
    "therefore", "these", "they", "this", "those", "through", "thus", "too", "two", "under", "until", "upon",
    "use", "used", "using", "very", "was", "well", "were", "what", "when", "where", "whether", "which", "while",
    "who", "whom", "why", "will", "with", "within", "without", "would", "yet", "you", "your",
];

/// A longer one is no word: it is data, or an attack.
const LONGEST: usize = 64;

/// The words of a text in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The words of a text that say what it is about.
pub fn telling(text: &str) -> impl Iterator<Item = String> {
    words(text).filter(|word| {
        (3..=LONGEST).contains(&word.chars().count())
            && !word.chars().all(|c| c.is_ascii_digit())
            && !STOP_WORDS.contains(&word.as_str())
    })
}

/// What the forms of an English word have in common, so that `models` and `modelled` meet `model`. Not always a word.
#[must_use]
pub fn stem(word: &str) -> String {
    Stemmer::create(Algorithm::English).stem(word).into_owned()
}

/// The stems of all words of a text.
#[must_use]
pub fn stems(text: &str) -> BTreeSet<String> {
    words(text).map(|word| stem(&word)).collect()
}

/// How often the stem of each telling word occurs.
#[must_use]
pub fn frequencies(text: &str) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for word in telling(text) {
        *counts.entry(stem(&word)).or_insert(0) += 1;
    }
    counts
}

/// The `n` most frequent telling words with how often they occur in any form: the most frequent first, equals in the order of the alphabet.
#[must_use]
pub fn top_terms(text: &str, n: usize) -> Vec<(usize, String)> {
    let mut counts: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for word in telling(text) {
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

/// Whether a text with these stems has every word of `term`, in any form; never for a term without a word.
#[must_use]
pub fn covers(stems: &BTreeSet<String>, term: &str) -> bool {
    let mut wanted = words(term).map(|word| stem(&word)).peekable();
    wanted.peek().is_some() && wanted.all(|stem| stems.contains(&stem))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let have = stems("The LIGHTHOUSES were automated.");
        assert!(covers(&have, "automated lighthouse"));
        assert!(!covers(&have, "lamp"));
        assert!(!covers(&have, "  "));
    }

    #[test]
    fn top_terms_are_the_frequent_words_in_their_shortest_form() {
        let text =
            format!("Lamps and lamp oil; the lamps of 1820, oil. {0} {0} {0} {0}", "x".repeat(100));
        let expected = [(3, "lamp".to_owned()), (2, "oil".to_owned())];
        assert_eq!(top_terms(&text, 2), expected);
    }
}
