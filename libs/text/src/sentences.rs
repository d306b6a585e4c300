//! Sentences of running text.

/// Abbreviations after which a full stop ends nothing.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "etc", "cf", "vs", "dr", "mr", "mrs", "ms", "prof", "st", "no", "fig", "approx",
    "ca", "vol",
];

/// The sentences of a text in their order. Headings, tables, code and the marks of lists are left out.
#[must_use]
pub fn sentences(text: &str) -> Vec<&str> {
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

/// A sentence with its line breaks as blanks.
#[must_use]
pub fn one_line(sentence: &str) -> String {
    sentence.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Pieces of text that no sentence crosses: lines of prose that follow one another belong together, every list item stands alone.
fn paragraphs(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start: Option<usize> = None;
    let mut position = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        // A line under a heading, or between two sections.
        let rule = trimmed.chars().all(|c| matches!(c, '=' | '-' | '*' | '_'));
        let alone = rule || trimmed.starts_with(['#', '|', '`', '>']) || list_mark(trimmed) > 0;
        if alone && let Some(from) = start.take() {
            found.extend(text.get(from..position));
        }
        let indent = line.len() - line.trim_start().len();
        let content = position + indent + list_mark(trimmed);
        if trimmed.starts_with(['#', '|', '`']) {
            found.extend(text.get(content..position + line.len()));
        } else if !rule && start.is_none() {
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
            paragraph
                .get(start..end)
                .map(str::trim)
                .filter(|sentence| sentence.chars().any(char::is_alphanumeric)),
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
        assert!(sentences("# Only a title\n\n---\n…").is_empty());
        let under = sentences("A heading\n=========\nA\nsentence.");
        assert_eq!(
            under.into_iter().map(one_line).collect::<Vec<_>>(),
            ["A heading", "A sentence."]
        );
    }
}
