//! OpenAI's wire format: the request's body and the chunks of a streamed reply.

use muster_contracts::llm::v1::{ChatMessage, ChatTool, TokenUsage, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::prompt::Prompt;
use crate::domain::reply::{PartialCall, PartialReply, TooLarge};

/// The body of a request for a stream.
pub(super) fn body(prompt: &Prompt, model: &str, official: bool) -> Value {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.to_owned(), value));
    set("model", json!(model));
    set("messages", prompt.messages.iter().map(message).collect());
    set("stream", json!(true));
    set("stream_options", json!({ "include_usage": true }));
    if !prompt.tools.is_empty() {
        set("tools", prompt.tools.iter().map(tool).collect());
    }
    if let Some(temperature) = prompt.temperature {
        set("temperature", json!(temperature));
    }
    if prompt.max_tokens > 0 {
        // OpenAI's newer models refuse the old name, other servers do not know the new one.
        let field = if official { "max_completion_tokens" } else { "max_tokens" };
        set(field, json!(prompt.max_tokens));
    }
    if let Some(schema) = &prompt.response_schema {
        let schema = json!({ "name": "reply", "schema": schema });
        set("response_format", json!({ "type": "json_schema", "json_schema": schema }));
    }
    Value::Object(body)
}

fn message(message: &ChatMessage) -> Value {
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| drop(fields.insert(field.to_owned(), value));
    set("role", json!(message.role));
    if message.tool_calls.is_empty() {
        set("content", json!(message.content));
    } else {
        let content = (!message.content.is_empty()).then_some(&message.content);
        set("content", json!(content));
        set("tool_calls", message.tool_calls.iter().map(call).collect());
    }
    if message.role == "tool" {
        set("tool_call_id", json!(message.tool_call_id));
    }
    Value::Object(fields)
}

fn call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        Some(arguments) => arguments.clone().into_value().to_string(),
        // What the model said, so that it can see its mistake.
        None => call.invalid_arguments.clone(),
    };
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
}

fn tool(tool: &ChatTool) -> Value {
    let parameters = tool
        .parameters
        .clone()
        .map_or_else(|| json!({ "type": "object" }), |schema| schema.into_value());
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": parameters },
    })
}

/// An event of the stream.
pub(super) enum Event {
    Chunk(Chunk),
    /// An error that the provider found while it answered.
    Error(String),
    End,
}

#[derive(Deserialize)]
pub(super) struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Default, Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u32,
    #[serde(default)]
    completion_tokens: u32,
}

/// Reads the data of one event.
pub(super) fn parse(data: &str) -> Result<Event, String> {
    if data.trim() == "[DONE]" {
        return Ok(Event::End);
    }
    let told = |error: serde_json::Error| {
        let start: String = data.chars().take(200).collect();
        format!("an event of the stream is no chunk of a reply ({error}): {start}")
    };
    let value: Value = serde_json::from_str(data).map_err(told)?;
    match value.get("error") {
        Some(error) if !error.is_null() => Ok(Event::Error(message_of(error))),
        _ => serde_json::from_value(value).map(Event::Chunk).map_err(told),
    }
}

/// The message in the body of an error.
pub(super) fn error_message(body: &[u8]) -> String {
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(value) => message_of(value.get("error").unwrap_or(&value)),
        Err(_no_json) => String::from_utf8_lossy(body).into_owned(),
    };
    let message: String = message.trim().chars().take(500).collect();
    if message.is_empty() { "no reason given".to_owned() } else { message }
}

fn message_of(error: &Value) -> String {
    let text = error.get("message").unwrap_or(error);
    text.as_str().map_or_else(|| text.to_string(), str::to_owned)
}

impl Chunk {
    /// Adds the chunk to the reply. Returns the text that is new.
    pub(super) fn add_to(self, reply: &mut PartialReply) -> Result<String, TooLarge> {
        if let Some(usage) = self.usage {
            reply.usage = Some(TokenUsage {
                input_tokens: usage.prompt_tokens,
                output_tokens: usage.completion_tokens,
                ..TokenUsage::default()
            });
        }
        if let Some(model) = self.model.filter(|_| reply.model.is_empty()) {
            reply.model = model;
        }
        let Some(choice) = self.choices.into_iter().next() else { return Ok(String::new()) };
        if choice.finish_reason.is_some() {
            reply.finish_reason = choice.finish_reason;
        }
        let delta = choice.delta.unwrap_or_default();
        for (at, piece) in delta.tool_calls.into_iter().flatten().enumerate() {
            let function = piece.function.unwrap_or_default();
            let partial = PartialCall {
                id: piece.id.unwrap_or_default(),
                name: function.name.unwrap_or_default(),
                arguments: function.arguments.unwrap_or_default(),
            };
            reply.push_call(piece.index.unwrap_or(at), &partial)?;
        }
        // A refusal is what the model says, in place of a content.
        let text = delta.content.unwrap_or_default() + &delta.refusal.unwrap_or_default();
        reply.push_text(&text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;

    use super::*;

    #[test]
    fn a_conversation_becomes_a_body() {
        let call = ToolCall {
            id: "c1".into(),
            name: "search".into(),
            arguments: Some(JsonObject::wrap(json!({ "n": 1 }))),
            invalid_arguments: String::new(),
        };
        let assistant =
            ChatMessage { role: "assistant".into(), tool_calls: vec![call], ..Default::default() };
        let answer = ChatMessage {
            role: "tool".into(),
            content: "7".into(),
            tool_call_id: "c1".into(),
            ..Default::default()
        };
        let tools = vec![ChatTool { name: "search".into(), ..Default::default() }];
        let prompt = Prompt {
            model: String::new(),
            messages: vec![assistant, answer],
            tools,
            temperature: Some(0.0),
            max_tokens: 9,
            response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
            offline: None,
        };
        let body = body(&prompt, "m", false);
        assert_eq!(
            body["messages"],
            json!([
                { "role": "assistant", "content": null, "tool_calls": [{ "id": "c1", "type": "function", "function": { "name": "search", "arguments": "{\"n\":1}" } }] },
                { "role": "tool", "content": "7", "tool_call_id": "c1" },
            ])
        );
        assert_eq!((&body["max_tokens"], &body["temperature"]), (&json!(9), &json!(0.0)));
        assert_eq!(body["response_format"]["json_schema"]["schema"], json!({ "type": "object" }));
        assert_eq!(body["tools"][0]["function"]["parameters"], json!({ "type": "object" }));
    }

    #[test]
    fn errors_are_found_in_bodies_and_in_streams() {
        assert_eq!(error_message(br#"{"error":{"message":"no such model"}}"#), "no such model");
        assert_eq!(error_message(br#"{"error":"plain"}"#), "plain");
        assert_eq!(error_message(b"<html>"), "<html>");
        assert_eq!(error_message(b""), "no reason given");
        assert!(
            matches!(parse(r#"{"error":{"message":"x"}}"#), Ok(Event::Error(text)) if text == "x")
        );
        assert!(matches!(parse(" [DONE]"), Ok(Event::End)));
        assert!(parse("{").is_err());
        assert!(parse(r#"{"choices":7}"#).is_err());
    }
}
