//! What a model is told: the messages of a run.

use muster_contracts::{
    agent::v1::AgentDefinition,
    llm::v1::{ChatMessage, ToolCall},
};
use serde_json::{Value, json};

use super::fact::Returned;

/// The first messages: who the agent is, what was said before, and what it is asked.
pub(crate) fn opening(
    definition: &AgentDefinition,
    history: &[ChatMessage],
    input: &Value,
) -> Vec<ChatMessage> {
    let mut instructions = definition.instructions.trim().to_owned();
    if let Some(schema) = &definition.output_schema {
        // Providers that enforce the schema get it as a parameter too; the others know it from here only.
        instructions.push_str(&format!(
            "\n\nYour final answer is one JSON value that fits this JSON Schema, and nothing else:\n{}",
            Value::Object(schema.0.clone())
        ));
    }
    let mut messages = vec![message("system", instructions)];
    messages.extend_from_slice(history);
    messages.push(message("user", text_of(input)));
    messages
}

/// Asks the model to mend its last answer.
pub(crate) fn repair(flaw: &str) -> ChatMessage {
    message(
        "user",
        format!(
            "Your last answer cannot be used: {flaw}. Answer again, whole and corrected, and with nothing else."
        ),
    )
}

/// What stands where the oldest of a conversation was.
pub(crate) fn summary(text: &str) -> ChatMessage {
    message("user", format!("Summary of the conversation until here:\n{text}"))
}

/// What the model reads of a tool call.
pub(crate) fn tool_answer(returned: &Returned) -> ChatMessage {
    let content = match (&returned.error, &returned.result) {
        (Some(error), _) => json!({ "error": error }).to_string(),
        (None, Some(result)) => result.to_string(),
        (None, None) => Value::Null.to_string(),
    };
    ChatMessage {
        tool_call_id: returned.call_id.clone(),
        name: returned.name.clone(),
        ..message("tool", content)
    }
}

/// Gives each call an id of its own: some models send none, or the same twice.
pub(crate) fn with_distinct_ids(mut calls: Vec<ToolCall>, turn: u32) -> Vec<ToolCall> {
    let mut seen = std::collections::BTreeSet::new();
    for (index, call) in calls.iter_mut().enumerate() {
        if call.id.is_empty() || !seen.insert(call.id.clone()) {
            call.id = format!("call_{turn}_{index}");
            seen.insert(call.id.clone());
        }
    }
    calls
}

/// A value as a model reads it: a text as it is, anything else as JSON.
fn text_of(input: &Value) -> String {
    match input {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

pub(crate) fn message(role: &str, content: impl Into<String>) -> ChatMessage {
    ChatMessage { role: role.to_owned(), content: content.into(), ..ChatMessage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_without_an_id_of_their_own_get_one() {
        let call = |id: &str| ToolCall { id: id.to_owned(), ..ToolCall::default() };
        let ids: Vec<String> =
            with_distinct_ids(vec![call("a"), call(""), call("a"), call("b")], 3)
                .into_iter()
                .map(|call| call.id)
                .collect();
        assert_eq!(ids, ["a", "call_3_1", "call_3_2", "b"]);
    }

    #[test]
    fn a_structured_question_is_asked_as_json_and_a_text_as_it_is() {
        let definition = AgentDefinition { instructions: "Be brief.".into(), ..Default::default() };
        let asked = |input: Value| opening(&definition, &[], &input)[1].content.clone();
        assert_eq!(asked(json!("Why?")), "Why?");
        assert_eq!(asked(json!({"q": "Why?"})), r#"{"q":"Why?"}"#);
    }
}
