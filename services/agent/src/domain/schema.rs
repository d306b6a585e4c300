//! The schema of a structured answer.

use std::sync::Arc;

use jsonschema::Validator;
use muster_contracts::agent::v1::AgentDefinition;
use serde_json::Value;

use super::definition::Flaw;

/// Flaws of an answer that are named at once.
const MAX_NAMED: usize = 5;

/// A JSON Schema, ready to check answers. References leave the document nowhere: nothing is fetched.
#[derive(Clone, Debug)]
pub(crate) struct OutputSchema(Arc<Validator>);

impl OutputSchema {
    /// The schema of the definition, where it has one.
    ///
    /// # Errors
    /// Where it is no valid JSON Schema.
    pub(crate) fn of(definition: &AgentDefinition) -> Result<Option<Self>, Flaw> {
        let Some(schema) = &definition.output_schema else { return Ok(None) };
        jsonschema::validator_for(&Value::Object(schema.0.clone()))
            .map(|validator| Some(Self(Arc::new(validator))))
            .map_err(|error| {
                let path = error.instance_path().to_string();
                Flaw(format!("`output_schema{path}` is no valid JSON Schema: {error}"))
            })
    }

    /// The value in a model's answer.
    ///
    /// # Errors
    /// What the model must mend.
    pub(crate) fn parse(&self, answer: &str) -> Result<Value, String> {
        let value: Value = serde_json::from_str(unfenced(answer))
            .map_err(|error| format!("it is not one JSON value ({error})"))?;
        let flaws: Vec<String> = self
            .0
            .iter_errors(&value)
            .take(MAX_NAMED)
            .map(|error| match error.instance_path().to_string() {
                path if path.is_empty() => error.to_string(),
                path => format!("at {path}: {error}"),
            })
            .collect();
        if flaws.is_empty() {
            Ok(value)
        } else {
            Err(format!("it does not fit the schema ({})", flaws.join("; ")))
        }
    }
}

/// Models like to wrap JSON in a code fence, however they are asked.
fn unfenced(answer: &str) -> &str {
    let answer = answer.trim();
    let inner = answer.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inner.map_or(answer, |inner| inner.strip_prefix("json").unwrap_or(inner).trim())
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use serde_json::json;

    use super::*;

    fn schema() -> OutputSchema {
        let schema = json!({
            "type": "object",
            "properties": {"content": {"type": "boolean"}},
            "required": ["content"],
        });
        let definition =
            AgentDefinition { output_schema: Some(JsonObject::wrap(schema)), ..Default::default() };
        OutputSchema::of(&definition).expect("a schema").expect("one")
    }

    #[test]
    fn json_is_found_in_a_code_fence() {
        for answer in [
            r#"{"content":true}"#,
            "```json\n{\"content\": true}\n```",
            "```\n{\"content\":true}```",
        ] {
            assert_eq!(schema().parse(answer), Ok(json!({"content": true})), "{answer}");
        }
    }

    #[test]
    fn a_flaw_names_the_place_and_the_value() {
        let flaw = schema().parse(r#"{"content": "yes"}"#).expect_err("a flaw");
        assert!(flaw.contains("/content") && flaw.contains("yes"), "{flaw}");
        let flaw = schema().parse("Yes, it is.").expect_err("a flaw");
        assert!(flaw.contains("not one JSON value"), "{flaw}");
    }

    #[test]
    fn a_reference_to_somewhere_else_is_refused() {
        let schema = JsonObject::wrap(json!({"$ref": "http://127.0.0.1:9/schema.json"}));
        let definition = AgentDefinition { output_schema: Some(schema), ..Default::default() };
        assert!(OutputSchema::of(&definition).is_err());
    }
}
