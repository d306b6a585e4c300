//! The small part of Jinja that a template may use.
//!
//! A text grows only by what stands in it and by loops over what is given: nothing here can join, repeat or keep texts.
//! So the engine's own limits (steps, nesting, length of the output) bound both time and memory. With `set`, `~`, filters
//! and macros a template of 100 bytes could ask for terabytes before it writes anything.

use muster_text::jinja::{self, Tag, Word};

use super::{Flaw, shown};

/// Checks that every place of a text is one that templates may have.
///
/// # Errors
/// The first that is not, with its line.
pub(super) fn check(source: &str) -> Result<(), Flaw> {
    let allowed = |tag: Tag<'_, '_>| match tag {
        Tag::Value(words) => is_value(words),
        Tag::Control(words) => is_control(words),
    };
    jinja::check(source, allowed).map_err(|refused| {
        Flaw(format!(
            "`text` has {:?} on line {}, which is no place of a template; there are: {PLACES}",
            shown(refused.start),
            refused.line
        ))
    })
}

/// The longest text that something is compared with, in bytes.
const MAX_COMPARED: usize = 256;
const PLACES: &str = "{{ name }}, {{ name.field }}, {{ \"text\" }}, {% if name %}, {% if not name %}, {% if name == \"text\" %}, {% elif … %}, {% else %}, {% endif %}, {% for item in name %}, {% endfor %}, {# comment #}";

fn is_value(words: &[Word<'_>]) -> bool {
    match words {
        [Word::Name(name)] => is_variable(name),
        [word] => is_literal(word),
        _ => false,
    }
}

/// A name, or a name and what it is compared with: two that are given may be long, and a loop compares them very often.
fn is_condition(words: &[Word<'_>]) -> bool {
    let words = match words {
        [Word::Name("not"), rest @ ..] => rest,
        words => words,
    };
    match words {
        [Word::Name(name)] => is_variable(name),
        [literal] => is_literal(literal),
        [Word::Name(name), Word::Sign("==" | "!="), literal]
        | [literal, Word::Sign("==" | "!="), Word::Name(name)] => {
            is_variable(name) && is_literal(literal) && is_short(literal)
        }
        _ => false,
    }
}

const fn is_short(literal: &Word<'_>) -> bool {
    !matches!(literal, Word::Text(text) if text.len() > MAX_COMPARED)
}

/// A number, or a text without escapes.
fn is_literal(word: &Word<'_>) -> bool {
    match word {
        Word::Number(_) => true,
        Word::Text(text) => !text.contains('\\'),
        _ => false,
    }
}

fn is_control(words: &[Word<'_>]) -> bool {
    let Some((Word::Name(tag), rest)) = words.split_first() else { return false };
    match *tag {
        "if" | "elif" => rest
            .split(|word| matches!(word, Word::Name("and" | "or")))
            .all(|part| is_condition(part)),
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
            "{% if a == b %}{% endif %}",
            "{% if a == \"b\" == a %}{% endif %}",
            "{% if not not a %}{% endif %}",
            "{% if a and %}{% endif %}",
            &format!("{{% if a == \"{}\" %}}{{% endif %}}", "x".repeat(257)),
            &format!("{{% if a %}}x{}{{% endif %}}", "{% elif a %}".repeat(3_000)),
            &format!("{{% if {}a %}}{{% endif %}}", "a and ".repeat(1_500)),
            "{% block a %}{% endblock %}",
            "{% %}",
            "{%",
        ] {
            let flaw = check(&format!("one\n{bad}")).expect_err(bad);
            assert!(flaw.0.contains("on line 2") && flaw.0.contains("{{ name }}"), "{bad}: {flaw}");
        }
    }
}
