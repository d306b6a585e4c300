//! The body of a request in Ollama's format.

use muster_contracts::llm::v1::{ChatMessage, ToolCall};
use serde_json::{Map, Value, json};

use crate::domain::content::{Image, images, text};
use crate::domain::prompt::{Prompt, ToolChoice};
use crate::providers::openai::tool;

/// The body of a request for a stream. An error is what Ollama cannot do.
pub(super) fn body(prompt: &Prompt, model: &str) -> Result<Value, String> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.to_owned(), value));
    set("model", json!(model));
    set("stream", json!(true));
    set("messages", prompt.messages.iter().map(message).collect::<Result<_, _>>()?);
    match &prompt.tool_choice {
        ToolChoice::Auto if !prompt.tools.is_empty() => {
            set("tools", prompt.tools.iter().map(tool).collect());
        }
        ToolChoice::Auto | ToolChoice::None => {}
        ToolChoice::Required | ToolChoice::Named(_) => {
            return Err(
                "cannot be made to call a tool: `tool_choice` must be auto or none".to_owned()
            );
        }
    }
    if let Some(schema) = &prompt.response_schema {
        set("format", json!(schema));
    } else if prompt.json_object {
        set("format", json!("json"));
    }
    if let Some(effort) = prompt.effort {
        set("think", json!(effort.name()));
    }
    let options = options(prompt);
    if !options.is_empty() {
        set("options", Value::Object(options));
    }
    Ok(Value::Object(body))
}

fn options(prompt: &Prompt) -> Map<String, Value> {
    let mut options = Map::new();
    let mut set = |field: &str, value: Value| drop(options.insert(field.to_owned(), value));
    for (field, value) in [("temperature", prompt.temperature), ("top_p", prompt.top_p)] {
        if let Some(value) = value {
            set(field, json!(value));
        }
    }
    if prompt.most() > 0 {
        set("num_predict", json!(prompt.most()));
    }
    if !prompt.stop.is_empty() {
        set("stop", json!(prompt.stop));
    }
    if let Some(seed) = prompt.seed {
        set("seed", json!(seed));
    }
    options
}

fn message(message: &ChatMessage) -> Result<Value, String> {
    let mut fields = Map::new();
    let mut set = |field: &str, value: Value| drop(fields.insert(field.to_owned(), value));
    set("role", json!(message.role));
    set("content", json!(text(message)));
    let images: Vec<&str> = images(message).map(data).collect::<Result<_, _>>()?;
    if !images.is_empty() {
        set("images", json!(images));
    }
    if !message.tool_calls.is_empty() {
        set("tool_calls", message.tool_calls.iter().map(call).collect());
    }
    if message.role == "tool" && !message.name.is_empty() {
        set("tool_name", json!(message.name));
    }
    Ok(Value::Object(fields))
}

fn data(image: Image<'_>) -> Result<&str, String> {
    match image {
        Image::Data { base64, .. } => Ok(base64),
        Image::Address(url) => {
            let url: String = url.chars().take(80).collect();
            Err(format!("fetches no images: send {url:?} as data:<media type>;base64,<data>"))
        }
    }
}

fn call(call: &ToolCall) -> Value {
    let arguments = match &call.arguments {
        Some(arguments) => json!(arguments),
        // What the model said, so that it can see its mistake.
        None => json!({ "invalid_arguments": call.invalid_arguments }),
    };
    json!({ "function": { "name": call.name, "arguments": arguments } })
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use muster_contracts::llm::v1::{ChatTool, CompleteRequest, ContentPart, Parameters};

    use super::*;

    fn prompt(message: ChatMessage, params: Parameters) -> Prompt {
        let tools = vec![ChatTool { name: "search".into(), ..Default::default() }];
        let (messages, params) = (vec![message], Some(params));
        Prompt::parse(&CompleteRequest { messages, tools, params, ..Default::default() }).unwrap()
    }

    fn user(url: &str) -> ChatMessage {
        let picture =
            ContentPart { r#type: "image".into(), image_url: url.into(), ..Default::default() };
        ChatMessage {
            role: "user".into(),
            content: "look".into(),
            parts: vec![picture],
            ..Default::default()
        }
    }

    #[test]
    fn parameters_have_ollamas_names() {
        let params = Parameters {
            response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
            stop: vec!["END".into()],
            reasoning_effort: "low".into(),
            temperature: Some(0.5),
            max_tokens: 9,
            seed: Some(3),
            ..Default::default()
        };
        let sent = body(&prompt(user("data:image/png;base64,aGk="), params), "m").unwrap();
        assert_eq!(
            sent["messages"],
            json!([{ "role": "user", "content": "look", "images": ["aGk="] }])
        );
        let options = json!({ "temperature": 0.5, "num_predict": 9, "stop": ["END"], "seed": 3 });
        assert_eq!(sent["options"], options);
        assert_eq!(
            (&sent["format"], &sent["think"]),
            (&json!({ "type": "object" }), &json!("low"))
        );
        assert_eq!(sent["tools"][0]["function"]["name"], json!("search"));
    }

    #[test]
    fn what_ollama_cannot_do_is_refused() {
        let picture = user("https://x.example/a.png");
        let error = body(&prompt(picture, Parameters::default()), "m").unwrap_err();
        assert!(error.contains("fetches no images"), "{error}");
        let params = Parameters { tool_choice: "search".into(), ..Default::default() };
        let error = body(&prompt(user("data:image/png;base64,aGk="), params), "m").unwrap_err();
        assert!(error.contains("auto or none"), "{error}");
    }
}
