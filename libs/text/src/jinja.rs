//! What stands in the tags of a Jinja template, for those who allow only a part of the language.
//!
//! A template engine bounds steps and output, but not what a template builds up on the way: with `set`, `~` and filters a
//! hundred bytes can ask for terabytes before they write anything. Who fills templates of others says here which tags there are.

use std::cell::Cell;

/// The most words in one tag, each dot being one more: engines read a chain of operators by recursion, and have a stack.
const MAX_WORDS: usize = 256;
/// The most `elif` in a template, for the same reason.
const MAX_BRANCHES: usize = 100;

/// One thing in a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Word<'t> {
    /// A name or keyword, or names joined by dots.
    Name(&'t str),
    /// What stands between the quotes, with its escapes as they are.
    Text(&'t str),
    /// A number without a sign.
    Number(&'t str),
    /// `==`, `!=`, `<=`, `>=`, `<`, `>`, `|`, `(`, `)`, `[`, `]`, `,` or `.`.
    Sign(&'t str),
}

/// A tag of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tag<'w, 't> {
    /// `{{ … }}`.
    Value(&'w [Word<'t>]),
    /// `{% … %}`.
    Control(&'w [Word<'t>]),
}

/// A tag that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused<'t> {
    /// Where it begins, counted from 1.
    pub line: usize,
    /// What stands from there to the end of the line.
    pub start: &'t str,
}

/// Checks that every tag is allowed; comments always are.
///
/// # Errors
/// The first tag that is not allowed, does not end, has what is no [`Word`], more than 256 words (a dot in a name is one
/// more), or is the 101st `elif`.
pub fn check<'t>(
    source: &'t str,
    allowed: impl Fn(Tag<'_, 't>) -> bool,
) -> Result<(), Refused<'t>> {
    let mut rest = source;
    let branches = Cell::new(0);
    let is_control = |words: &[Word<'t>]| {
        if words.first() == Some(&Word::Name("elif")) {
            branches.set(branches.get() + 1);
        }
        branches.get() <= MAX_BRANCHES && allowed(Tag::Control(words))
    };
    while let Some(at) = next_mark(rest) {
        let (_, from) = rest.split_at(at);
        let after = match from.get(..2) {
            Some("{#") => from.find("#}").and_then(|end| from.get(end + 2..)),
            Some("{{") => tag(from, "}}", |words| allowed(Tag::Value(words))),
            _ => tag(from, "%}", is_control),
        };
        rest = after.ok_or_else(|| Refused {
            line: source
                .get(..source.len() - from.len())
                .map_or(1, |head| head.matches('\n').count() + 1),
            start: from.lines().next().unwrap_or_default(),
        })?;
    }
    Ok(())
}

fn next_mark(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].into_iter().filter_map(|mark| text.find(mark)).min()
}

/// What follows the tag that the text begins with, where what stands in the tag is allowed.
fn tag<'t>(text: &'t str, end: &str, allowed: impl FnOnce(&[Word<'t>]) -> bool) -> Option<&'t str> {
    let mut rest = text.get(2..)?;
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let mut words = Vec::new();
    let mut left = MAX_WORDS;
    loop {
        rest = rest.trim_start();
        let signless = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        if let Some(after) = signless.strip_prefix(end) {
            return allowed(&words).then_some(after);
        }
        let (word, after) = word(rest)?;
        let dots = match word {
            Word::Name(name) => name.matches('.').count(),
            _ => 0,
        };
        left = left.checked_sub(1 + dots)?;
        words.push(word);
        rest = after;
    }
}

const SIGNS: [&str; 13] = ["==", "!=", "<=", ">=", "<", ">", "|", "(", ")", "[", "]", ",", "."];

fn word(text: &str) -> Option<(Word<'_>, &str)> {
    if let Some(sign) = SIGNS.into_iter().find(|sign| text.starts_with(sign)) {
        let (sign, after) = text.split_at(sign.len());
        return Some((Word::Sign(sign), after));
    }
    let first = text.chars().next()?;
    if first == '"' || first == '\'' {
        return quoted(text.get(1..)?, first);
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let reads_well = !name.is_empty() && name.split('.').all(|part| !part.is_empty());
    let is_number = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let word = if is_number { Word::Number(name) } else { Word::Name(name) };
    (reads_well && name.len() < 200).then_some((word, after))
}

fn quoted(text: &str, quote: char) -> Option<(Word<'_>, &str)> {
    let mut escaped = false;
    let end = text.find(|letter| {
        let ends = letter == quote && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    })?;
    Some((Word::Text(text.get(..end)?), text.get(end + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_apart_into_words() {
        let seen = std::cell::RefCell::new(Vec::new());
        let source = "a {{- b.c | join(\"\\\"}}\") -}} {% if d[0] != 1.5 %}{# {{ e #}";
        let all = check(source, |tag| {
            seen.borrow_mut().push(format!("{tag:?}"));
            true
        });
        assert_eq!(all, Ok(()));
        let seen = seen.into_inner();
        let value = r#"Value([Name("b.c"), Sign("|"), Name("join"), Sign("("), Text("\\\"}}"), Sign(")")])"#;
        let control = r#"Control([Name("if"), Name("d"), Sign("["), Number("0"), Sign("]"), Sign("!="), Number("1.5")])"#;
        assert_eq!(seen, [value, control]);
    }

    #[test]
    fn what_is_no_word_or_does_not_end_is_refused_with_its_line() {
        for bad in ["{{ a", "{% a", "{# a", "{{ \"a }}", "{{ a ~ b }}", "{{ a. }}", "{{ é }}", "{{"]
        {
            let source = format!("one\n{bad}\nthree");
            assert_eq!(check(&source, |_| true), Err(Refused { line: 2, start: bad }), "{bad}");
        }
        let chain = format!("{{{{ a{} }}}}", " and a".repeat(128));
        assert_eq!(check(&chain, |_| true), Err(Refused { line: 1, start: &chain }));
        let path = format!("{{{{ a{} }}}}", ".b".repeat(90) + &" [0]".repeat(60));
        assert_eq!(check(&path, |_| true), Err(Refused { line: 1, start: &path }));
        let branches = "{% if a %}".to_owned() + &"\n{% elif a %}".repeat(101);
        assert_eq!(check(&branches, |_| true), Err(Refused { line: 102, start: "{% elif a %}" }));
        assert_eq!(check("{{ a }}", |_| false), Err(Refused { line: 1, start: "{{ a }}" }));
    }
}
