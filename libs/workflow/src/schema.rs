//! JSON Schemas that stand in a document.

use std::sync::Arc;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// How many violations an error lists.
const LISTED: usize = 5;

/// A compiled schema.
#[derive(Debug, Clone)]
pub(crate) struct Schema(Arc<Validator>);

impl Schema {
    /// Compiles a schema from outside; the error says what is wrong with it.
    pub(crate) fn parse(schema: &Value) -> Result<Schema, String> {
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

/// A message may quote the whole value.
fn shorten(error: &ValidationError<'_>) -> String {
    const LENGTH: usize = 300;
    let message = error.to_string();
    match message.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", message.get(..end).unwrap_or_default()),
        None => message,
    }
}
