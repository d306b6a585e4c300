//! JSON Schemas that stand in a document.

use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// How many violations an error lists.
const LISTED: usize = 5;

/// Values that a schema may have after its references are replaced by what they refer to.
const EXPANDED: usize = 5_000;

/// A compiled schema.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Arc<Validator>);

impl Schema {
    /// Compiles a schema from outside; the error says what is wrong with it.
    pub(crate) fn parse(schema: &Value) -> Result<Schema, String> {
        let mut left = EXPANDED;
        expand(schema, schema, &mut Vec::new(), &mut left)?;
        // The linear engine: a pattern must not backtrack for ever.
        jsonschema::options()
            .with_pattern_options(PatternOptions::regex())
            .build(schema)
            .map(|validator| Schema(Arc::new(validator)))
            .map_err(|error| error.to_string())
    }

    /// Compiles a schema of our own, whose patterns may look ahead.
    pub(crate) fn trusted(schema: &Value) -> Result<Schema, String> {
        jsonschema::options()
            .build(schema)
            .map(|validator| Schema(Arc::new(validator)))
            .map_err(|error| error.to_string())
    }

    /// What `value` violates, as one text.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
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

    /// The first violations, each with the pointer of its place.
    pub(crate) fn violations(&self, value: &Value) -> Vec<(String, String)> {
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
