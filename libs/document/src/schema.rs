//! JSON Schemas from outside.

use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// How many violations an error lists.
const LISTED: usize = 5;

/// Values that a schema may have after its references are replaced by what they refer to.
const EXPANDED: usize = 5_000;

/// A JSON Schema, ready to check values. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Schema(Arc<Validator>);

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
            .map(|validator| Schema(Arc::new(validator)))
            .map_err(|error| error.to_string())
    }

    /// Compiles a schema of our own, whose patterns may look ahead and whose references may lead in circles.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn trusted(schema: &Value) -> Result<Schema, String> {
        jsonschema::options()
            .build(schema)
            .map(|validator| Schema(Arc::new(validator)))
            .map_err(|error| error.to_string())
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
        let errors = self.0.iter_errors(value).take(LISTED);
        errors.map(|error| (error.instance_path().to_string(), shorten(&error))).collect()
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

/// A message may quote the whole value.
fn shorten(error: &ValidationError<'_>) -> String {
    const LENGTH: usize = 300;
    let message = error.to_string();
    match message.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
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
