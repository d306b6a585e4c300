//! Templates and expressions of the offline provider's scripts, bounded in size and steps.

use std::io;

use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use super::reply::MAX_REPLY;
use super::text;

/// The longest template, in bytes.
const MAX_SOURCE: usize = 64 << 10;
/// Steps that one template may take.
const FUEL: u64 = 1_000_000;
/// The deepest nesting of a JSON value with templates.
const MAX_DEPTH: usize = 32;
/// The most sentences or words that a filter gives.
const MAX_ITEMS: usize = 200;

/// Fills templates.
pub(crate) struct Engine {
    environment: Environment<'static>,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_name| AutoEscape::None);
        environment.add_filter("summary", summary);
        environment.add_filter("sentences", sentences);
        environment.add_filter("keywords", keywords);
        environment.add_filter("covers", |of: String, term: String| text::covers(&of, &term));
        environment.add_filter("flatten", flatten);
        environment.add_filter("unique_by", unique_by);
        environment.add_filter("fromjson", from_json);
        Self { environment }
    }

    /// Whether the expression is true; something that is not there is false.
    pub(crate) fn truth(&self, expression: &str, scope: &Value) -> Result<bool, String> {
        Ok(self.evaluate(expression, scope)?.is_true())
    }

    /// The items of the list that the expression gives.
    pub(crate) fn list(&self, expression: &str, scope: &Value) -> Result<Vec<Value>, String> {
        let value = self.evaluate(expression, scope)?;
        match value.kind() {
            ValueKind::Seq | ValueKind::Iterable => {
                value.try_iter().map(Iterator::collect).map_err(|error| told(expression, &error))
            }
            kind => Err(format!("{expression:?} gives {kind}, but must give a list")),
        }
    }

    /// The filled template. A lone `{{ expression }}` keeps the type of its value.
    pub(crate) fn fill(&self, template: &str, scope: &Value) -> Result<Json, String> {
        let Some(expression) = lone_expression(template) else {
            return self.text(template, scope).map(Json::String);
        };
        let value = self.evaluate(expression, scope)?;
        if value.is_undefined() {
            return Err(format!("{expression:?} names something that is not there"));
        }
        serde_json::to_value(&value)
            .map_err(|error| format!("{expression:?} is no JSON value: {error}"))
    }

    /// The filled template as text.
    pub(crate) fn text(&self, template: &str, scope: &Value) -> Result<String, String> {
        check_size(template)?;
        let mut output = Bounded(Vec::new());
        self.environment
            .template_from_named_str("template", template)
            .and_then(|parsed| parsed.render_captured_to(scope, &mut output).map(drop))
            .map_err(|error| told(template, &error))?;
        String::from_utf8(output.0).map_err(|error| format!("{template:?} gives no text: {error}"))
    }

    /// The value with every string in it filled.
    pub(crate) fn fill_all(&self, value: &Json, scope: &Value) -> Result<Json, String> {
        self.fill_deep(value, scope, 0)
    }

    fn fill_deep(&self, value: &Json, scope: &Value, depth: usize) -> Result<Json, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the value is nested deeper than {MAX_DEPTH}"));
        }
        match value {
            Json::String(template) => self.fill(template, scope),
            Json::Array(items) => {
                items.iter().map(|item| self.fill_deep(item, scope, depth + 1)).collect()
            }
            Json::Object(fields) => fields
                .iter()
                .map(|(name, value)| Ok((name.clone(), self.fill_deep(value, scope, depth + 1)?)))
                .collect(),
            other => Ok(other.clone()),
        }
    }

    fn evaluate(&self, expression: &str, scope: &Value) -> Result<Value, String> {
        check_size(expression)?;
        self.environment
            .compile_expression(expression)
            .and_then(|compiled| compiled.eval(scope))
            .map_err(|error| told(expression, &error))
    }
}

/// A value of JSON as templates see it.
pub(crate) fn value(json: &Json) -> Value {
    Value::from(Serde(json))
}

fn lone_expression(template: &str) -> Option<&str> {
    let inner = template.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let inner = inner.strip_prefix('-').unwrap_or(inner);
    let inner = inner.strip_suffix('-').unwrap_or(inner);
    let lone = !["{{", "}}", "{%", "%}", "{#"].iter().any(|mark| inner.contains(mark));
    lone.then(|| inner.trim())
}

fn check_size(source: &str) -> Result<(), String> {
    if source.len() > MAX_SOURCE {
        return Err(format!(
            "a template has {} bytes, but must have at most {MAX_SOURCE}",
            source.len()
        ));
    }
    Ok(())
}

fn told(source: &str, error: &Error) -> String {
    let start: String = source.chars().take(80).collect();
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{start:?}: {error}{}", cause.unwrap_or_default())
}

/// Refuses to grow beyond the largest reply.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_REPLY {
            return Err(io::Error::other(format!("the output is larger than {MAX_REPLY} bytes")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn summary(of: String, n: Option<usize>, named: Kwargs) -> Result<String, Error> {
    let about: Option<String> = named.get("about")?;
    named.assert_all_used()?;
    Ok(text::summary(&of, n.unwrap_or(5).min(MAX_ITEMS), &about.unwrap_or_default()))
}

fn sentences(of: String) -> Vec<String> {
    muster_text::sentences(&of)
        .into_iter()
        .map(|sentence| sentence.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

fn keywords(of: String, n: Option<usize>) -> Vec<String> {
    text::keywords(&of, n.unwrap_or(10).min(MAX_ITEMS))
}

fn flatten(lists: Value) -> Result<Vec<Value>, Error> {
    let mut flat = Vec::new();
    for item in lists.try_iter()? {
        match item.kind() {
            ValueKind::Seq | ValueKind::Iterable => flat.extend(item.try_iter()?),
            _ => flat.push(item),
        }
    }
    Ok(flat)
}

fn unique_by(items: Value, field: String) -> Result<Vec<Value>, Error> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = Vec::new();
    for item in items.try_iter()? {
        if seen.insert(item.get_attr(&field)?) {
            kept.push(item);
        }
    }
    Ok(kept)
}

fn from_json(of: String) -> Result<Value, Error> {
    serde_json::from_str::<Json>(&of).map(|json| value(&json)).map_err(|error| {
        Error::new(ErrorKind::InvalidOperation, format!("the text is no JSON: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fill(template: &str) -> Result<Json, String> {
        let scope = value(&json!({
            "n": 9_007_199_254_740_993_u64,
            "list": [[1, 2], [3]],
            "hits": [{ "id": "a" }, { "id": "b" }, { "id": "a" }],
            "text": "Lamps need oil. Oil for lamps comes by boat. Cats sleep.",
        }));
        Engine::new().fill(template, &scope)
    }

    #[test]
    fn a_lone_expression_keeps_its_type() {
        assert_eq!(fill("{{ n }}"), Ok(json!(9_007_199_254_740_993_u64)));
        assert_eq!(fill("{{ list | flatten }}"), Ok(json!([1, 2, 3])));
        assert_eq!(fill("{{ hits | unique_by(\"id\") | length }}"), Ok(json!(2)));
        assert_eq!(fill("n = {{ n }}"), Ok(json!("n = 9007199254740993")));
        assert_eq!(fill("{{ n }}{{ n }}"), Ok(json!("90071992547409939007199254740993")));
        assert_eq!(fill("<&>"), Ok(json!("<&>")));
        assert_eq!(fill("{{ text | summary(1, about=\"cats\") }}"), Ok(json!("Cats sleep.")));
        assert_eq!(fill("{{ text | covers(\"lamp\") }}"), Ok(json!(true)));
        assert_eq!(fill("{{ '[1]' | fromjson }}"), Ok(json!([1])));
    }

    #[test]
    fn hostile_templates_end_with_an_error() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
        let grows = "{% for a in range(9999) %}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{{ text }}{% endfor %}";
        for (template, part) in [
            (loops, "fuel"),
            (grows, "larger than 1048576"),
            ("{{ absent }}", "not there"),
            ("a {{ absent }}", "undefined"),
            ("{{ text | summary(1, abuot=1) }}", "abuot"),
            (&"x".repeat(MAX_SOURCE + 1), "at most 65536"),
            ("{{ (((", "template"),
        ] {
            let error = fill(template).unwrap_err();
            assert!(error.contains(part) || part == "template", "{part}: {error}");
        }
    }
}
