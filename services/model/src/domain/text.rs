//! Extractive summaries: what the offline provider knows about language.

use std::collections::BTreeSet;

use muster_text::{frequencies, one_line, sentences, stems, top_terms};

/// The `n` most frequent words that mean something, the most frequent first, equals in the order of the alphabet.
pub(crate) fn keywords(text: &str, n: usize) -> Vec<String> {
    top_terms(text, n).into_iter().map(|(_, word)| word).collect()
}

/// Whether the text has every word of `term`, in any form.
pub(crate) fn covers(text: &str, term: &str) -> bool {
    muster_text::covers(&stems(text), term)
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

#[cfg(test)]
mod tests {
    use super::*;

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
