//! Instructions that are a template over the run's input.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Value, json};

use super::definition::Flaw;

/// Steps that a template may take.
const FUEL: u64 = 200_000;
/// The longest text that a template may give, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// Checks that a template can be read.
///
/// # Errors
/// What is wrong, and on which line.
pub(crate) fn check(source: &str) -> Result<(), Flaw> {
    environment().template_from_str(source).map(drop).map_err(|error| flaw(&error))
}

/// Fills a template.
///
/// # Errors
/// A value that is not there, or a text that is too long.
pub(crate) fn fill(source: &str, agent: &str, input: &Value) -> Result<String, Flaw> {
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
        assert!(
            fill(
                "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
                "a",
                &json!(1)
            )
            .is_err()
        );
    }
}
