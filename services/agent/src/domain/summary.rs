//! Sentences of a text, without its headings and marks.

/// The sentences of the running text: headings, tables and list marks left out.
pub(crate) fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut paragraph = String::new();
    for line in text.lines().chain([""]) {
        match prose(line) {
            Some(prose) => {
                if !paragraph.is_empty() {
                    paragraph.push(' ');
                }
                paragraph.push_str(prose);
            }
            None => split(&std::mem::take(&mut paragraph), &mut sentences),
        }
    }
    sentences
}

/// The line's words; `None` where the line ends a paragraph.
fn prose(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '|', '`', '=']) || line.starts_with("---") {
        return None;
    }
    Some(line.trim_start_matches(['>', '-', '*', '+', ' ']))
}

fn split(paragraph: &str, sentences: &mut Vec<String>) {
    let mut start = 0;
    let mut characters = paragraph.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let ends = matches!(character, '.' | '!' | '?' | '…')
            && characters.peek().is_none_or(|(_, following)| following.is_whitespace());
        let end = at + character.len_utf8();
        if ends && !is_abbreviation(paragraph.get(start..end).unwrap_or_default()) {
            push(paragraph.get(start..end), sentences);
            start = end;
        }
    }
    push(paragraph.get(start..), sentences);
}

/// Whether the dot at the end belongs to the last word: `e.g.`, `No.`, an initial.
fn is_abbreviation(text: &str) -> bool {
    let last = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = last.trim_end_matches('.').trim_start_matches(['(', '[', '"']);
    let known = [
        "e.g", "i.e", "cf", "No", "no", "Dr", "Mr", "Mrs", "St", "vs", "ca", "approx", "Fig", "p",
        "pp",
    ];
    last.ends_with('.')
        && (known.contains(&word)
            || (word.chars().count() == 1 && word.chars().all(char::is_uppercase)))
}

fn push(sentence: Option<&str>, sentences: &mut Vec<String>) {
    let sentence = sentence.unwrap_or_default().trim();
    if sentence.chars().any(char::is_alphanumeric) {
        sentences.push(sentence.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_come_without_headings_and_list_marks() {
        let text = "# A title\n\nThe first one\nruns on. The second, e.g. this, costs 3.5 units!\n\n- A point\n- Is it? Yes.\n\n| a | b |\n";
        assert_eq!(
            sentences(text),
            [
                "The first one runs on.",
                "The second, e.g. this, costs 3.5 units!",
                "A point Is it?",
                "Yes."
            ]
        );
    }

    #[test]
    fn nothing_to_say_is_no_sentence() {
        assert!(sentences("").is_empty());
        assert!(sentences("# Only a title\n\n---\n…").is_empty());
    }
}
