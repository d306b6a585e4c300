//! The part of a deliverable that is asked for.

use std::collections::BTreeSet;

use muster_text::{stems, tokens};

use super::text;

/// The section under this heading, with its subsections.
pub(crate) fn section(content: &str, wanted: &str) -> Result<String, String> {
    let headings = text::headings(content);
    let same = |title: &str| {
        title.trim().eq_ignore_ascii_case(wanted.trim().trim_start_matches('#').trim())
    };
    let Some(at) = headings.iter().position(|heading| same(heading.title)) else {
        let known: Vec<_> = headings.iter().map(|heading| heading.title).take(40).collect();
        return Err(format!(
            "there is no section {wanted:?}; the sections are: {}",
            known.join(" | ")
        ));
    };
    let (start, level) = headings.get(at).map_or((0, 1), |heading| (heading.start, heading.level));
    let end = headings
        .iter()
        .skip(at + 1)
        .find(|heading| heading.level <= level)
        .map_or(content.len(), |heading| heading.start);
    Ok(content.get(start..end).unwrap_or_default().trim().to_owned())
}

/// The paragraphs that share most words with the query, in their order, within so many tokens.
pub(crate) fn passages(content: &str, query: &str, max_tokens: usize) -> String {
    let wanted: BTreeSet<String> = stems(query);
    let mut ranked: Vec<(usize, usize, &str)> = content
        .split("\n\n")
        .map(str::trim)
        .enumerate()
        .filter(|(_, paragraph)| !paragraph.is_empty())
        .map(|(at, paragraph)| {
            let have: BTreeSet<String> = stems(paragraph);
            (have.intersection(&wanted).count(), at, paragraph)
        })
        .filter(|(score, ..)| *score > 0)
        .collect();
    ranked.sort_by(|(a, i, _), (b, j, _)| b.cmp(a).then_with(|| i.cmp(j)));
    let mut left = max_tokens;
    let mut chosen: Vec<(usize, String)> = Vec::new();
    for (_, at, paragraph) in ranked {
        let tokens = tokens::count(paragraph) + 1;
        if tokens <= left {
            left -= tokens;
            chosen.push((at, paragraph.to_owned()));
        } else if chosen.is_empty() {
            chosen.push((at, tokens::cut(paragraph, left).unwrap_or_default()));
            break;
        }
    }
    chosen.sort();
    chosen.into_iter().map(|(_, paragraph)| paragraph).collect::<Vec<_>>().join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "# Report\n\nIntro.\n\n## Boats\n\nBoats come at noon.\n\n### Small boats\n\nRowing.\n\n## Cranes\n\nThe crane lifts boats.";

    #[test]
    fn a_section_ends_with_the_next_of_its_level() {
        assert_eq!(
            section(REPORT, "boats").unwrap(),
            "## Boats\n\nBoats come at noon.\n\n### Small boats\n\nRowing."
        );
        assert!(
            section(REPORT, "Trains")
                .unwrap_err()
                .contains("Report | Boats | Small boats | Cranes")
        );
    }

    #[test]
    fn passages_are_those_with_the_words_of_the_query() {
        assert_eq!(
            passages(REPORT, "which crane lifts", 100),
            "## Cranes\n\nThe crane lifts boats."
        );
        assert_eq!(passages(REPORT, "rowing", 100), "Rowing.");
        assert_eq!(passages(REPORT, "trains", 100), "");
    }
}
