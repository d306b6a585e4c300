//! The schema of a structured answer.

use muster_contracts::agent::v1::AgentDefinition;
use muster_document::Schema;
use serde_json::Value;

use super::definition::Flaw;

/// The schema that answers must fit.
#[derive(Clone, Debug)]
pub(crate) struct OutputSchema(Schema);

impl OutputSchema {
    /// The schema of the definition, where it has one.
    ///
    /// # Errors
    /// Where it is no JSON Schema that can be used.
    pub(crate) fn of(definition: &AgentDefinition) -> Result<Option<Self>, Flaw> {
        let Some(schema) = &definition.output_schema else { return Ok(None) };
        Schema::parse(&Value::Object(schema.0.clone())).map(|schema| Some(Self(schema))).map_err(
            |error| Flaw(format!("`output_schema` is no JSON Schema that can be used: {error}")),
        )
    }

    /// The value in a model's answer.
    ///
    /// # Errors
    /// What the model must mend.
    pub(crate) fn parse(&self, answer: &str) -> Result<Value, String> {
        let value: Value = serde_json::from_str(unfenced(answer))
            .map_err(|error| format!("it is not one JSON value ({error})"))?;
        match self.0.check(&value) {
            Ok(()) => Ok(value),
            Err(flaws) => Err(format!("it does not fit the schema ({flaws})")),
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
