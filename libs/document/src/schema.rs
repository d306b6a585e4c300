//! JSON Schemas from outside.

use std::sync::Arc;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// How long a message is at most, in characters.
const LENGTH: usize = 300;

/// How many violations an error lists.
const LISTED: usize = 5;

/// How many choices of a schema an error lists.
const CHOICES: usize = 5;

/// Values that a schema may have after its references are replaced by what they refer to.
const EXPANDED: usize = 5_000;

/// A JSON Schema, ready to check values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    validator: Validator,
    source: Value,
}

impl Schema {
    /// Compiles a schema from outside.
    ///
    /// # Errors
    /// What is wrong with it: it is no JSON Schema, a reference leads elsewhere or in a circle, or its references unfold to very much.
    pub fn parse(schema: &Value) -> Result<Schema, String> {
        let mut left = EXPANDED;
        expand(schema, schema, &mut Vec::new(), &mut left)?;
        // The linear engine: a pattern must not backtrack for ever.
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(|validator| Schema::of(validator, schema))
            .map_err(|error| error.to_string())
    }

    /// Compiles a schema of our own, whose patterns may look ahead and whose references may lead in circles.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn trusted(schema: &Value) -> Result<Schema, String> {
        jsonschema::options()
            .build(schema)
            .map(|validator| Schema::of(validator, schema))
            .map_err(|error| error.to_string())
    }

    fn of(validator: Validator, source: &Value) -> Schema {
        Schema(Arc::new(Compiled { validator, source: source.clone() }))
    }

    /// Checks a value.
    ///
    /// # Errors
    /// What it violates, as one text of bounded length.
    pub fn check(&self, value: &Value) -> Result<(), String> {
        let list = self.violations(value);
        let line = |(pointer, message): &(String, String)| match pointer.as_str() {
            "" => message.clone(),
            pointer => format!("{pointer}: {message}"),
        };
        if list.is_empty() {
            return Ok(());
        }
        Err(list.iter().map(line).collect::<Vec<_>>().join("; "))
    }

    /// The first violations, each with the pointer of its place in the value.
    #[must_use]
    pub fn violations(&self, value: &Value) -> Vec<(String, String)> {
        let errors = self.0.validator.iter_errors(value).take(LISTED);
        errors.map(|error| (error.instance_path().to_string(), self.told(&error))).collect()
    }

    /// What is wrong, and what would be right where the checker's own words do not say it.
    fn told(&self, error: &ValidationError<'_>) -> String {
        let value = cut(&error.instance().to_string(), 120);
        match error.kind() {
            ValidationErrorKind::OneOfNotValid { context }
            | ValidationErrorKind::AnyOf { context } => {
                let why = context.iter().filter_map(|errors| errors.first());
                let why = listed(why.map(|error| cut(&error.to_string(), 80)));
                let keyword = error.kind().keyword();
                cut(&format!("{value} fits no choice of `{keyword}`: {why}"), LENGTH)
            }
            ValidationErrorKind::OneOfMultipleValid { context } => {
                let path = error.schema_path().to_string();
                let choices = self.0.source.pointer(&path).and_then(Value::as_array);
                let choices = choices.into_iter().flatten().zip(context);
                let fitting = choices.filter(|(_, errors)| errors.is_empty());
                let fitting = listed(fitting.map(|(choice, _)| cut(&choice.to_string(), 80)));
                let told =
                    format!("{value} must fit exactly one choice of `oneOf`, but fits: {fitting}");
                cut(&told, LENGTH)
            }
            _ => cut(&error.to_string(), LENGTH),
        }
    }
}

/// Follows every reference: those that lead to themselves, or unfold to very much, would make
/// checking endless.
fn expand<'s>(
    root: &'s Value,
    schema: &'s Value,
    inside: &mut Vec<&'s str>,
    left: &mut usize,
) -> Result<(), String> {
    *left = left.checked_sub(1).ok_or_else(|| {
        format!("with its references replaced it has more than {EXPANDED} values")
    })?;
    match schema {
        Value::Array(values) => {
            values.iter().try_for_each(|value| expand(root, value, inside, left))
        }
        Value::Object(map) => {
            for (key, value) in map {
                let reference = match (key.as_str(), value.as_str()) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Some(reference)) => reference,
                    _ => {
                        expand(root, value, inside, left)?;
                        continue;
                    }
                };
                if inside.contains(&reference) || reference == "#" {
                    return Err(format!("`{reference}` refers to itself, which is not supported"));
                }
                let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
                let target = target.ok_or_else(|| {
                    format!("`{reference}` does not refer to a part of it, such as #/$defs/name")
                })?;
                inside.push(reference);
                expand(root, target, inside, left)?;
                inside.pop();
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn listed(choices: impl Iterator<Item = String>) -> String {
    choices.take(CHOICES).collect::<Vec<_>>().join(", or ")
}

/// A message may quote the whole value.
fn cut(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_violation_is_named_with_its_place_and_a_bounded_value() {
        let schema = Schema::parse(&json!({"properties": {"a": {"type": "integer"}}})).unwrap();
        assert_eq!(schema.check(&json!({"a": 1})), Ok(()));
        let told = schema.check(&json!({"a": "x".repeat(10_000)})).unwrap_err();
        assert!(told.starts_with("/a: \"xxx") && told.chars().count() < 400, "{told}");
    }

    #[test]
    fn a_choice_is_told_with_what_would_be_right() {
        let choices = json!([{"required": ["text"]}, {"required": ["deliverable"]}]);
        let check = |keyword: &str, value: Value, expected: &str| {
            let schema = Schema::parse(&json!({ (keyword): choices })).unwrap();
            assert_eq!(schema.check(&value).unwrap_err(), expected);
        };
        let missing = r#"{} fits no choice of `X`: "text" is a required property, or "deliverable" is a required property"#;
        check("oneOf", json!({}), &missing.replace('X', "oneOf"));
        check("anyOf", json!({}), &missing.replace('X', "anyOf"));
        check(
            "oneOf",
            json!({"deliverable": "d", "text": "t"}),
            r#"{"deliverable":"d","text":"t"} must fit exactly one choice of `oneOf`, but fits: {"required":["text"]}, or {"required":["deliverable"]}"#,
        );
        let long = Schema::parse(&json!({ "oneOf": [{"type": "integer"}] })).unwrap();
        let told = long.check(&json!("x".repeat(10_000))).unwrap_err();
        assert!(told.chars().count() < 400, "{told}");
    }

    #[test]
    fn a_schema_that_would_stall_is_refused() {
        let mut definitions: serde_json::Map<String, Value> = (0..40)
            .map(|n| {
                let next = json!({"$ref": format!("#/$defs/a{}", n + 1)});
                (format!("a{n}"), json!({"allOf": [next, next]}))
            })
            .collect();
        definitions.insert("a40".to_owned(), json!({"type": "object"}));
        let doubling = json!({"$defs": definitions, "$ref": "#/$defs/a0"});
        for (schema, expected) in [
            (doubling, "more than 5000 values"),
            (json!({"allOf": [{"$ref": "#"}]}), "refers to itself"),
            (json!({"$ref": "http://127.0.0.1:9/x"}), "does not refer to a part of it"),
            (json!({"type": "nope"}), "nope"),
        ] {
            let told = Schema::parse(&schema).unwrap_err();
            assert!(told.contains(expected), "{told}");
        }
    }
}
