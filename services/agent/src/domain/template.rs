//! Instructions that are a template over the run's input.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::definition::Flaw;

mod allowed;

/// Steps that a template may take.
const FUEL: u64 = 200_000;
/// The longest text that a template may give, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// Checks that a template can be read, and has nothing but what instructions may have.
///
/// # Errors
/// What is wrong, and on which line.
pub(crate) fn check(source: &str) -> Result<(), Flaw> {
    allowed::check(source).map_err(|refused| {
        let start: String = refused.start.chars().take(80).collect();
        let (line, tags) = (refused.line, allowed::TAGS);
        Flaw(format!(
            "`instructions` have {start:?} on line {line}, which no template may have; there are: {tags}"
        ))
    })?;
    environment().template_from_str(source).map(drop).map_err(|error| flaw(&error))
}

/// Fills a template.
///
/// # Errors
/// A value that is not there, or a text that is too long.
pub(crate) fn fill(source: &str, agent: &str, input: &Value) -> Result<String, Flaw> {
    // What is registered was checked, but by whom is not known here.
    check(source)?;
    let environment = environment();
    let scope = minijinja::Value::from(Serde(json!({ "input": input, "agent": agent })));
    let mut text = Bounded(Vec::new());
    let filled = environment
        .template_from_str(source)
        .and_then(|template| template.render_captured_to(scope, &mut text).map(drop));
    filled.map_err(|error| flaw(&error))?;
    String::from_utf8(text.0).map_err(|error| Flaw(format!("`instructions`: {error}")))
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    // What is not there must not silently become an empty text in what an agent is told.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_name| AutoEscape::None);
    environment
}

fn flaw(error: &minijinja::Error) -> Flaw {
    let line = error.line().map(|line| format!(" on line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    Flaw(format!(
        "`instructions` are no template that can be filled{line}: {}{detail}",
        error.kind()
    ))
}

struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_TEXT {
            let error = format!("the text has more than {MAX_TEXT} bytes");
            return Err(std::io::Error::other(error));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_input_fills_the_template_and_is_no_template_itself() {
        let filled = fill(
            "You are {{ agent }}. Topic: {{ input.topic }}",
            "a",
            &json!({"topic": "{{ 1 }}"}),
        );
        assert_eq!(filled, Ok("You are a. Topic: {{ 1 }}".to_owned()));
    }

    #[test]
    fn what_cannot_be_read_or_filled_is_told_with_its_line() {
        let unread = check("Hello\n{% if %}").expect_err("a flaw").to_string();
        assert!(unread.contains("line 2"), "{unread}");
        let unfilled = fill("{{ input.topic }}", "a", &json!({})).expect_err("a flaw").to_string();
        assert!(unfilled.contains("undefined"), "{unfilled}");
        let loops = "{% for a in input %}{% for b in input %}{% if a == b %}{% endif %}{% endfor %}{% endfor %}";
        let slow = fill(loops, "a", &json!(vec![1; 9_999])).expect_err("a flaw").to_string();
        assert!(slow.contains("fuel"), "{slow}");
        let long = "{% for a in input %}{{ a }}{% endfor %}";
        let long = fill(long, "a", &json!(vec!["x".repeat(999); 999])).expect_err("a flaw");
        assert!(long.to_string().contains("failed to write"), "{long}");
    }

    #[test]
    fn instructions_have_conditions_loops_and_filters_that_do_not_grow() {
        let input = json!({"name": " ada ", "list": ["a", "b"], "map": {"k": [1, 2]}, "n": 3});
        for (source, expected) in [
            ("{{ input.name | trim | title }}{# {% set x = 1 %} #}", "Ada"),
            ("{{ input[\"list\"][0] }}{{ input.map.k.1 }}", "a2"),
            ("{{ input.list | join(\", \") }} {{ input.map | tojson }}", "a, b {\"k\": [1, 2]}"),
            ("{{ input.none | default(\"-\") }}{{ input.list | length }}", "-2"),
            ("{% for k, v in input.map | items %}{{ k }}{{ v | last }}{% endfor %}", "k2"),
            ("{%- for a in input.list if a != 'b' -%} {{ loop.index }}{{ a }} {%- endfor %}", "1a"),
            (
                "{% if input.n >= 3 and not (input.n == 4 or \"z\" in input.list) %}y{% endif %}",
                "y",
            ),
            (
                "{% if input.x is defined %}1{% elif \"b\" not in [\"a\"] %}2{% else %}3{% endif %}",
                "2",
            ),
            ("{{ \"few\" if input.list | length < 3 else \"many\" }}", "few"),
            ("{{ '{{' }} }} %}", "{{ }} %}"),
        ] {
            assert_eq!(fill(source, "a", &input), Ok(expected.to_owned()), "{source}");
        }
    }

    #[test]
    fn what_could_fill_the_memory_is_refused_when_it_is_registered_and_when_it_is_filled() {
        for bomb in [
            "{% set ns = namespace(a='0123456789') %}{% for i in range(40) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}",
            "{{ \"x\" * 1000000000 }}",
            "{{ [1] * input.n }}",
            "{{ input.a + input.a }}",
            "{% set x %}{{ x }}{{ x }}{% endset %}",
            "{% macro m(a) %}{{ a }}{{ a }}{% endmacro %}",
            "{% filter upper %}a{% endfilter %}",
            "{% with a = input %}{% endwith %}",
            "{{ input.a | indent(1000000000) }}",
            "{{ input.a | replace('', input.a) }}",
            "{{ '%1000000000s' | format(1) }}",
            "{{ input.a | join(input.a) }}",
            "{{ input.a | join('01234567890123456') }}",
            "{{ input.a | tojson | tojson }}",
            "{{ (input.a | join(',')) | join(',') }}",
            "{{ input.a | tojson(indent=1000000000) }}",
            "{{ input.a | default(input.a ~ input.a) }}",
            "{% for i in range(100000) %}{% endfor %}",
            "{% for i in input.a recursive %}{{ loop(i) }}{% endfor %}",
            "{{ debug() }}",
            "{{ input.a[1:] }}",
            "{% include 'a' %}",
            "{% raw %}{% endraw %}",
            "{{ input.a | upper | upper | upper | upper | upper | upper | upper | upper | upper }}",
        ] {
            let source = format!("one\n{bomb}");
            let flaw = check(&source).expect_err(bomb).to_string();
            assert!(flaw.contains("on line 2") && flaw.contains("{% if … %}"), "{flaw}");
            assert_eq!(
                fill(&source, "a", &json!({"a": "b", "n": 9})).unwrap_err().to_string(),
                flaw
            );
        }
        let nested = format!("{{{{ {}a{} }}}}", "(".repeat(5_000), ")".repeat(5_000));
        check(&nested).expect_err("parentheses");
    }
}
