//! The small part of Jinja that a template may use.
//!
//! A text grows only by what stands in it and by loops over what is given: nothing here can join, repeat or keep texts.
//! So the engine's own limits (steps, nesting, length of the output) bound both time and memory. With `set`, `~`, filters
//! and macros a template of 100 bytes could ask for terabytes before it writes anything.

use super::{Flaw, shown};

/// Checks that every place of a text is one that templates may have.
///
/// # Errors
/// The first that is not, with its line.
pub(super) fn check(source: &str) -> Result<(), Flaw> {
    let mut rest = source;
    while let Some(at) = next_mark(rest) {
        let (_, from) = rest.split_at(at);
        let line = || {
            source.get(..source.len() - from.len()).map_or(1, |head| head.matches('\n').count() + 1)
        };
        let after = match from.get(..2) {
            Some("{#") => from.find("#}").and_then(|end| from.get(end + 2..)),
            Some("{{") => tag(from, "}}", is_value),
            _ => tag(from, "%}", is_control),
        };
        rest = after.ok_or_else(|| {
            let start = from.lines().next().unwrap_or_default();
            Flaw(format!(
                "`text` has {:?} on line {}, which is no place of a template; there are: {PLACES}",
                shown(start),
                line()
            ))
        })?;
    }
    Ok(())
}

const PLACES: &str = "{{ name }}, {{ name.field }}, {{ \"text\" }}, {% if name %}, {% if not name %}, {% if name == \"text\" %}, {% elif … %}, {% else %}, {% endif %}, {% for item in name %}, {% endfor %}, {# comment #}";

fn next_mark(text: &str) -> Option<usize> {
    ["{{", "{%", "{#"].into_iter().filter_map(|mark| text.find(mark)).min()
}

/// What follows the tag that the text begins with, where what stands in the tag is allowed.
fn tag<'t>(text: &'t str, end: &str, allowed: fn(&[Word<'_>]) -> bool) -> Option<&'t str> {
    let mut rest = text.get(2..)?;
    rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    let mut words = Vec::new();
    loop {
        rest = rest.trim_start();
        let signless = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        if let Some(after) = signless.strip_prefix(end) {
            return allowed(&words).then_some(after);
        }
        let (word, after) = word(rest)?;
        words.push(word);
        rest = after;
    }
}

/// What may stand in a tag.
#[derive(Debug, PartialEq)]
enum Word<'t> {
    /// A name, or names joined by dots.
    Name(&'t str),
    Literal,
    /// `==` or `!=`.
    Compared,
}

fn word(text: &str) -> Option<(Word<'_>, &str)> {
    if let Some(after) = text.strip_prefix("==").or_else(|| text.strip_prefix("!=")) {
        return Some((Word::Compared, after));
    }
    let first = text.chars().next()?;
    if first == '"' || first == '\'' {
        let inner = text.get(1..)?;
        let end = inner.find(first)?;
        let literal = inner.get(..end)?;
        return (!literal.contains('\\'))
            .then(|| (Word::Literal, inner.get(end + 1..).unwrap_or_default()));
    }
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let end = text.find(|letter| !is_part(letter)).unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let word = if name.bytes().all(|byte| byte.is_ascii_digit()) {
        Word::Literal
    } else {
        Word::Name(name)
    };
    let reads_well = !name.is_empty() && name.split('.').all(|part| !part.is_empty());
    (reads_well && name.len() < 200).then_some((word, after))
}

fn is_value(words: &[Word<'_>]) -> bool {
    matches!(words, [Word::Literal]) || matches!(words, [Word::Name(name)] if is_variable(name))
}

fn is_control(words: &[Word<'_>]) -> bool {
    let Some((Word::Name(tag), rest)) = words.split_first() else { return false };
    match *tag {
        "if" | "elif" => {
            !rest.is_empty()
                && rest.iter().all(|word| match word {
                    Word::Name(name) => is_variable(name) || matches!(*name, "not" | "and" | "or"),
                    Word::Literal | Word::Compared => true,
                })
        }
        "for" => matches!(
            rest,
            [Word::Name(item), Word::Name("in"), Word::Name(list)]
                if is_variable(item) && !item.contains('.') && is_variable(list)
        ),
        "else" | "endif" | "endfor" => rest.is_empty(),
        _ => false,
    }
}

/// Whether it is no operator of the engine's.
fn is_variable(name: &str) -> bool {
    !matches!(name, "not" | "and" | "or" | "in" | "is" | "if" | "else")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_names_conditions_loops_and_comments() {
        for good in [
            "",
            "{ } }} %} plain",
            "{{ name }}{{name.field.0}}{{- name -}}",
            "{% if a and not b.c or d == \"x }} y\" %}1{% elif e != 3 %}2{%- else -%}3{% endif %}",
            "{% for item in list %}{{ loop.index }} {{ item }}\n{% endfor %}",
            "{# {{ a | b }} #}{{ '{{' }}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_line() {
        for bad in [
            "{{ a ~ a }}",
            "{{ a + b }}",
            "{{ a * 9 }}",
            "{{ a | upper }}",
            "{{ range(9) }}",
            "{{ a[0] }}",
            "{{ a if b }}",
            "{{ a b }}",
            "{{ a. }}",
            "{{ }}",
            "{{ not a }}",
            "{{ \"a\\\"b\" }}",
            "{{ a",
            "{{ {{ a }} }}",
            "{# open",
            "{% set a = b %}",
            "{% macro m() %}{% endmacro %}",
            "{% include \"x\" %}",
            "{% import \"x\" as y %}",
            "{% raw %}{% endraw %}",
            "{% for a in b recursive %}{% endfor %}",
            "{% for a, c in b %}{% endfor %}",
            "{% for a in range(9) %}{% endfor %}",
            "{% if a is defined %}{% endif %}",
            "{% if a in b %}{% endif %}",
            "{% if %}{% endif %}",
            "{% if (a) %}{% endif %}",
            "{% block a %}{% endblock %}",
            "{% %}",
            "{%",
        ] {
            let flaw = check(&format!("one\n{bad}")).expect_err(bad);
            assert!(flaw.0.contains("on line 2") && flaw.0.contains("{{ name }}"), "{bad}: {flaw}");
        }
    }
}
