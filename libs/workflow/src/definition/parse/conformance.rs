//! The specification's own JSON Schema.

use std::sync::LazyLock;

use serde_json::Value;

use crate::problem::Problems;
use crate::schema::Schema;

const TEXT: &str = include_str!("../../../schema/workflow-1.0.3.yaml");

static SCHEMA: LazyLock<Result<Schema, String>> = LazyLock::new(|| {
    let schema: Value = serde_yaml_ng::from_str(TEXT).map_err(|error| error.to_string())?;
    Schema::trusted(&schema)
});

/// Adds what the schema does not allow.
pub(super) fn check(document: &Value, problems: &mut Problems) {
    match &*SCHEMA {
        Err(error) => problems.add("", format!("the DSL's schema cannot be used: {error}")),
        Ok(schema) => {
            for (pointer, message) in schema.violations(document) {
                problems.add(pointer, format!("the DSL 1.0.3 does not allow this: {message}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_embedded_schema_compiles() {
        assert!(super::SCHEMA.is_ok());
    }
}
