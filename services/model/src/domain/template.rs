//! Templates and expressions of the offline provider's scripts, bounded in size, steps and what they make.

use std::collections::BTreeMap;

use minijinja::machinery::{Instructions, eval, make_string_output};
use minijinja::value::{Kwargs, Serde, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior};
use serde_json::Value as Json;

use super::reply::MAX_REPLY;
use super::text;
use budget::Budget;

mod budget;
mod weighed;

/// The longest template, in bytes.
const MAX_SOURCE: usize = 64 << 10;
/// Steps that one template may take.
const FUEL: u64 = 1_000_000;
/// The deepest nesting of a JSON value with templates.
const MAX_DEPTH: usize = 32;
/// The most sentences or words that a filter gives.
const MAX_ITEMS: usize = 200;

/// Fills the templates of one reply.
pub(crate) struct Engine {
    environment: Environment<'static>,
    budget: Budget,
}

impl Engine {
    pub(crate) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(64);
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_name| AutoEscape::None);
        let budget = Budget::new();
        budget.bind(&mut environment);
        for (name, filter) in filters() {
            budget.filter(&mut environment, name, filter);
        }
        Self { environment, budget }
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
                self.budget.charge(&value).map_err(|error| told(expression, &error))?;
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
        self.budget.charge(&value).map_err(|error| told(expression, &error))?;
        serde_json::to_value(&value)
            .map_err(|error| format!("{expression:?} is no JSON value: {error}"))
    }

    /// The filled template as text.
    pub(crate) fn text(&self, template: &str, scope: &Value) -> Result<String, String> {
        check_size(template)?;
        let mut output = String::new();
        weighed::template(template)
            .and_then(|parsed| self.run(&parsed, scope, &mut output))
            .map_err(|error| told(template, &error))?;
        if output.len() > MAX_REPLY {
            return Err(format!(
                "{}: the output is larger than {MAX_REPLY} bytes",
                begun(template)
            ));
        }
        Ok(output)
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
        weighed::expression(expression)
            .and_then(|parsed| self.run(&parsed, scope, &mut String::new()))
            .map(Option::unwrap_or_default)
            .map_err(|error| told(expression, &error))
    }

    fn run(
        &self,
        parsed: &Instructions<'_>,
        scope: &Value,
        output: &mut String,
    ) -> Result<Option<Value>, Error> {
        let (blocks, mut output) = (BTreeMap::new(), make_string_output(output));
        let scope = scope.clone();
        eval(&self.environment, parsed, scope, &blocks, &mut output, AutoEscape::None)
            .map(|(value, _)| value)
    }
}

fn filters() -> [(&'static str, Value); 7] {
    [
        ("summary", Value::from_function(summary)),
        ("sentences", Value::from_function(sentences)),
        ("keywords", Value::from_function(keywords)),
        ("covers", Value::from_function(|of: String, term: String| text::covers(&of, &term))),
        ("flatten", Value::from_function(flatten)),
        ("unique_by", Value::from_function(unique_by)),
        ("fromjson", Value::from_function(from_json)),
    ]
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
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{}: {error}{}", begun(source), cause.unwrap_or_default())
}

fn begun(source: &str) -> String {
    format!("{:?}", source.chars().take(80).collect::<String>())
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

    #[test]
    fn templates_that_would_fill_the_memory_end_with_an_error() {
        let chain = "{% set a = 'x' %}".to_owned() + &"{% set a = a ~ a %}".repeat(40);
        let lists = "{% set a = [1] %}".to_owned() + &"{% set a = a + a %}".repeat(40);
        let adds = "{% set a = 'x' %}".to_owned() + &"{% set a = a + a %}".repeat(40);
        let blocks =
            "{% set a = 'xx' %}".to_owned() + &"{% set a %}{{ a }}{{ a }}{% endset %}".repeat(40);
        let macros = format!("{{% macro m0() %}}{}{{% endmacro %}}", "x".repeat(30_000))
            + &(1..6)
                .map(|n| {
                    format!(
                        "{{% macro m{n}() %}}{}{{% endmacro %}}",
                        format!("{{{{ m{}() }}}}", n - 1).repeat(16)
                    )
                })
                .collect::<String>();
        let raw = format!(
            "{{% set a %}}{{% for i in range(9999) %}}{}{{% endfor %}}{{% endset %}}",
            "x".repeat(30_000)
        );
        let ns = |step: &str| {
            format!(
                "{{% set s = namespace(a='0123456789', l=[]) %}}{{% for i in range(90000) %}}{step}{{% endfor %}}{{{{ s.a | length }}}}"
            )
        };
        let long = "{% set s = namespace(a='0123456789') %}{% for i in range(19) %}{% set s.a = s.a ~ s.a %}{% endfor %}";
        for template in [
            ns("{% set s.a = s.a ~ s.a %}"),
            ns("{% set s.a = [s.a, s.a] | join %}"),
            ns("{% set s.a = s.a | replace('0', s.a) %}"),
            ns("{% set s.l = s.l + s.l + [1] %}"),
            ns("{% set s.l = [s.l, s.l] %}"),
            ns("{% set s.l = [s.l] %}"),
            ns("{% set s.l = (s.l, 1) %}"),
            ns("{% set s.l = {'a': s.l} %}"),
            ns("{% set s.l = dict(a=s.l) %}"),
            ns("{% set s.l = namespace(a=s.l) %}"),
            ns("{% set s.l = s.l | chain(s.l, [1]) | list %}"),
            ns("{% set s.a = s %}{{ s }}"),
            ns("{% set s.a %}{{ s.a }}{% filter upper %}{{ s.a }}{% endfilter %}{% endset %}"),
            chain,
            adds,
            lists,
            blocks,
            macros + "{{ m5() | length }}",
            raw,
            long.to_owned() + "{{ s.a | list | length }}",
            long.to_owned()
                + "{{ [[s.a]] | map(attribute=0) | map('replace', '0', 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa') }}",
            long.to_owned()
                + "{% set l = namespace(a=[]) %}{% for i in range(999) %}{% set l.a = l.a + [s.a[1:]] %}{% endfor %}",
            long.to_owned()
                + "{% set l = [s.a, s.a, s.a, s.a] %}{{ ((l + l + l + l) ~ '') | length }}",
        ] {
            let error = fill(&template).unwrap_err();
            let refused = ["67108864 bytes", "4194304 at most", "deeper than 64"];
            assert!(refused.iter().any(|part| error.contains(part)), "{template:.200}: {error}");
        }
    }

    #[test]
    fn what_repeats_or_is_too_long_for_the_stack_is_refused_at_once() {
        for (template, part) in [
            ("{{ \"x\" * 1000000000 }}".to_owned(), "multiplies numbers"),
            ("{{ [1] * n }}".to_owned(), "multiplies numbers"),
            ("{{ n * \"x\" }}".to_owned(), "multiplies numbers"),
            ("{{ text | indent(1000000000) }}".to_owned(), "unknown filter"),
            ("{{ text | center(1000000000) }}".to_owned(), "unknown filter"),
            ("{{ '%1000000000s' | format(1) }}".to_owned(), "unknown filter"),
            ("{{ list | tojson(indent=1000000000) }}".to_owned(), "takes no arguments"),
            ("{{ debug() }}".to_owned(), "unknown function"),
            ("{% include 'a' %}".to_owned(), "other templates"),
            ("{% autoescape true %}{% endautoescape %}".to_owned(), "autoescape"),
            (format!("{{{{ n{} }}}}", " ~ n".repeat(15_000)), "256 operators"),
            (format!("{{{{ n{} }}}}", " | abs".repeat(10_000)), "256 operators"),
            (format!("{{{{ n{} }}}}", "[0]".repeat(20_000)), "256 operators"),
            (format!("{{{{ n{} }}}}", " ~ n".repeat(200)), "operators in a row"),
            ("{% if n %}".to_owned() + &"{% elif n %}".repeat(5_000), "100 `elif`"),
            ("{% if n %}".repeat(5_000), "recursion"),
        ] {
            let error = fill(&template).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn the_budget_is_one_for_all_templates_of_a_reply() {
        let engine = Engine::new();
        let scope = value(&json!({ "text": "x".repeat(1 << 20) }));
        let fills = (0..100).take_while(|_| engine.fill("{{ text | upper }}", &scope).is_ok());
        assert!((10..40).contains(&fills.count()));
    }

    #[test]
    fn scripts_still_count_collect_and_call_macros() {
        for (template, expected) in [
            (
                "{% set s = namespace(n=0, l=[], t='') %}{% for i in [2, 3] %}{% set s.n = s.n + i * 10 %}{% set s.l = s.l + [i] %}{% set s.t = s.t ~ i %}{% endfor %}{{ s.n }} {{ s.l }} {{ s.t }}",
                json!("50 [2, 3] 23"),
            ),
            (
                "{% macro m(a, b='c') %}{{ a }}{{ b }}{% endmacro %}{{ m('x') ~ m('y', b='z') }}",
                json!("xcyz"),
            ),
            ("{{ (n * 2 // n) ** 3 + -1.5 }}", json!(6.5)),
            ("{{ [1, 2, 3][1:] | map('string') | join(',') if n > 1 else 0 }}", json!("2,3")),
            (
                "{% macro w() %}{{ caller(1) }}{% endmacro %}{% call(x) w() %}[{{ x }}]{% endcall %}",
                json!("[1]"),
            ),
            ("{% with a = 1 %}{% filter upper %}a{{ a }}{% endfilter %}{% endwith %}", json!("A1")),
            (
                "{% for a, b in {'k': 1} | items %}{% set c, d = a, b %}{{ c }}{{ d }}{% endfor %}",
                json!("k1"),
            ),
            ("{{ {'a': [n is number, 1 < 2 <= 2]} }}", json!({"a": [true, true]})),
        ] {
            assert_eq!(fill(template), Ok(expected), "{template}");
        }
    }

    #[test]
    fn the_scripts_of_the_examples_can_be_read() {
        fn texts(value: &Json, key: &str) -> usize {
            match value {
                Json::String(text) if key == "when" || key == "for_each" => {
                    weighed::expression(text).expect(text);
                    1
                }
                Json::String(text) => {
                    weighed::template(text).expect(text);
                    lone_expression(text).map(|lone| weighed::expression(lone).expect(lone));
                    1
                }
                Json::Array(items) => items.iter().map(|item| texts(item, key)).sum(),
                Json::Object(fields) => fields.iter().map(|(key, value)| texts(value, key)).sum(),
                _ => 0,
            }
        }
        let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples");
        let mut read = 0;
        for name in ["research-brief", "feature-team", "tools"] {
            for file in std::fs::read_dir(format!("{examples}/{name}/agents")).expect(name) {
                let text = std::fs::read_to_string(file.expect(name).path()).expect(name);
                let agent: Json = serde_yaml_ng::from_str(&text).expect(name);
                read += texts(&agent["offline"], "");
            }
        }
        assert!(read > 40, "{read}");
    }
}
