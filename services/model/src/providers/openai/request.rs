//! The body of a request in OpenAI's format.

use muster_contracts::llm::v1::{ChatMessage, ChatTool, ToolCall};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde_json::{Map, Value, json};

use crate::config::Secret;
use crate::domain::content::{Image, Part, images, parts, text};
use crate::domain::prompt::{Prompt, ToolChoice};
use crate::providers::Texts;
use crate::providers::dialect::secret;

/// The headers with the key.
pub(in crate::providers) fn bearer(key: Option<&Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        headers.insert(AUTHORIZATION, secret(&format!("Bearer {}", key.expose()))?);
    }
    Ok(headers)
}

/// The body of a request for a stream. OpenAI itself is told from other servers, which do not know its newer words.
pub(super) fn body(prompt: &Prompt, model: &str, official: bool) -> Value {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.to_owned(), value));
    set("model", json!(model));
    set("messages", prompt.messages.iter().map(message).collect());
    set("stream", json!(true));
    set("stream_options", json!({ "include_usage": true }));
    if !prompt.tools.is_empty() {
        set("tools", prompt.tools.iter().map(tool).collect());
        if let Some(choice) = choice(&prompt.tool_choice) {
            set("tool_choice", choice);
        }
    }
    if prompt.most() > 0 {
        // OpenAI's newer models refuse the old name, other servers do not know the new one.
        let field = if official { "max_completion_tokens" } else { "max_tokens" };
        set(field, json!(prompt.most()));
    }
    for (field, value) in [("temperature", prompt.temperature), ("top_p", prompt.top_p)] {
        if let Some(value) = value {
            set(field, json!(value));
        }
    }
    if !prompt.stop.is_empty() {
        set("stop", json!(prompt.stop));
    }
    if let Some(seed) = prompt.seed {
        set("seed", json!(seed));
    }
    if let Some(effort) = prompt.effort {
        set("reasoning_effort", json!(effort.name()));
    }
    if let Some(schema) = &prompt.response_schema {
        let schema = json!({ "name": "reply", "schema": schema });
        set("response_format", json!({ "type": "json_schema", "json_schema": schema }));
    } else if prompt.json_object {
        set("response_format", json!({ "type": "json_object" }));
    }
    Value::Object(body)
}

fn choice(choice: &ToolChoice) -> Option<Value> {
    match choice {
        ToolChoice::Auto => None,
        ToolChoice::None => Some(json!("none")),
        ToolChoice::Required => Some(json!("required")),
        ToolChoice::Named(name) => {
            Some(json!({ "type": "function", "function": { "name": name } }))
        }
    }
}

fn message(message: &ChatMessage) -> Value {
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| drop(fields.insert(field.to_owned(), value));
    set("role", json!(message.role));
    let content = match images(message).next() {
        // Most servers read a list of parts only where they must.
        None => json!(text(message)),
        Some(_) => parts(message).map(part).collect(),
    };
    if message.tool_calls.is_empty() {
        set("content", content);
    } else {
        let empty = content.as_str().is_some_and(str::is_empty);
        set("content", if empty { Value::Null } else { content });
        set("tool_calls", message.tool_calls.iter().map(call).collect());
    }
    if message.role == "tool" {
        set("tool_call_id", json!(message.tool_call_id));
    }
    Value::Object(fields)
}

fn part(part: Part<'_>) -> Value {
    let url = match part {
        Part::Text(text) => return json!({ "type": "text", "text": text }),
        Part::Image(Image::Address(url)) => url.to_owned(),
        Part::Image(Image::Data { media_type, base64 }) => {
            format!("data:{media_type};base64,{base64}")
        }
    };
    json!({ "type": "image_url", "image_url": { "url": url } })
}

fn call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        Some(arguments) => json!(arguments).to_string(),
        // What the model said, so that it can see its mistake.
        None => call.invalid_arguments.clone(),
    };
    json!({ "id": call.id, "type": "function", "function": { "name": call.name, "arguments": arguments } })
}

/// A tool as OpenAI and Ollama describe it.
pub(in crate::providers) fn tool(tool: &ChatTool) -> Value {
    let parameters = tool
        .parameters
        .as_ref()
        .map_or_else(|| json!({ "type": "object" }), |schema| json!(schema));
    json!({
        "type": "function",
        "function": { "name": tool.name, "description": tool.description, "parameters": parameters },
    })
}

/// The body of a request for vectors.
pub(super) fn embeddings(model: &str, texts: &Texts) -> Value {
    let mut body = json!({ "model": model, "input": texts.inputs, "encoding_format": "float" });
    if let (true, Some(body)) = (texts.dimensions > 0, body.as_object_mut()) {
        body.insert("dimensions".to_owned(), json!(texts.dimensions));
    }
    body
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use muster_contracts::llm::v1::{CompleteRequest, ContentPart, Parameters};

    use super::*;

    fn request(messages: Vec<ChatMessage>, params: Parameters) -> Prompt {
        let tools = vec![ChatTool { name: "search".into(), ..Default::default() }];
        let params = Some(params);
        Prompt::parse(&CompleteRequest { messages, tools, params, ..Default::default() }).unwrap()
    }

    #[test]
    fn a_conversation_becomes_a_body() {
        let call = ToolCall {
            id: "c1".into(),
            name: "search".into(),
            arguments: Some(JsonObject::wrap(json!({ "n": 1 }))),
            ..ToolCall::default()
        };
        let assistant =
            ChatMessage { role: "assistant".into(), tool_calls: vec![call], ..Default::default() };
        let answer = ChatMessage {
            role: "tool".into(),
            content: "7".into(),
            tool_call_id: "c1".into(),
            ..Default::default()
        };
        let params = Parameters {
            temperature: Some(0.0),
            max_tokens: 9,
            response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
            ..Default::default()
        };
        let body = body(&request(vec![assistant, answer], params), "m", false);
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
        assert_eq!(body.get("tool_choice"), None);
    }

    #[test]
    fn every_parameter_is_sent() {
        let picture = ContentPart {
            r#type: "image".into(),
            image_url: "data:image/png;base64,aGk=".into(),
            ..Default::default()
        };
        let user = ChatMessage {
            role: "user".into(),
            content: "look".into(),
            parts: vec![picture],
            ..Default::default()
        };
        let params = Parameters {
            json_object: true,
            top_p: Some(0.5),
            stop: vec!["END".into()],
            tool_choice: "search".into(),
            seed: Some(-7),
            reasoning_effort: "high".into(),
            max_tokens: 5,
            ..Default::default()
        };
        let body = body(&request(vec![user], params), "m", true);
        assert_eq!(
            body["messages"][0]["content"],
            json!([
                { "type": "text", "text": "look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,aGk=" } },
            ])
        );
        let expected = json!({ "top_p": 0.5, "stop": ["END"], "seed": -7, "reasoning_effort": "high",
            "max_completion_tokens": 5, "response_format": { "type": "json_object" },
            "tool_choice": { "type": "function", "function": { "name": "search" } } });
        for (field, value) in expected.as_object().unwrap() {
            assert_eq!(&body[field], value, "{field}");
        }
    }
}
