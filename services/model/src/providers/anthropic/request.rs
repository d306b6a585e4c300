//! The body of a request in Anthropic's format.

use muster_contracts::llm::v1::{ChatMessage, ChatTool, ToolCall};
use serde_json::{Map, Value, json};

use super::SIGNED;
use crate::domain::content::{Image, Part, parts, text};
use crate::domain::prompt::{Prompt, ToolChoice};
use crate::domain::thinking;

/// The longest reply where the request does not say: Anthropic wants a number.
const MAX_TOKENS: u32 = 8_192;
/// What stands for the missing JSON mode.
const ONLY_JSON: &str =
    "Answer with one JSON object and nothing else: no text before or after it, and no code fence.";

/// The body of a request for a stream. An error is what Anthropic cannot do.
pub(super) fn body(prompt: &Prompt, model: &str) -> Result<Value, String> {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.to_owned(), value));
    set("model", json!(model));
    set("stream", json!(true));
    set("messages", messages(&prompt.messages));
    let system = system(prompt);
    if !system.is_empty() {
        set("system", json!(system));
    }
    if !prompt.tools.is_empty() {
        set("tools", prompt.tools.iter().map(tool).collect());
        set("tool_choice", choice(&prompt.tool_choice));
    }
    if let Some(temperature) = prompt.temperature {
        if temperature > 1.0 {
            return Err(format!(
                "takes a temperature of 0 to 1, but `temperature` is {temperature}"
            ));
        }
        set("temperature", json!(temperature));
    }
    if let Some(top_p) = prompt.top_p {
        set("top_p", json!(top_p));
    }
    if !prompt.stop.is_empty() {
        set("stop_sequences", json!(prompt.stop));
    }
    let answer = if prompt.max_tokens == 0 { MAX_TOKENS } else { prompt.max_tokens };
    let budget = thinking::budget("anthropic", model, prompt.effort);
    let (limit, thought) = thinking::split(prompt, answer, budget);
    let mut output = Map::new();
    if let Some(schema) = &prompt.response_schema {
        let schema = closed(json!(schema));
        output.insert("format".to_owned(), json!({ "type": "json_schema", "schema": schema }));
    }
    if let Some(effort) = prompt.effort {
        if let Some(thought) = thought {
            set("thinking", json!({ "type": "enabled", "budget_tokens": thought }));
        } else if budget == 0 {
            set("thinking", json!({ "type": "adaptive" }));
            output.insert("effort".to_owned(), json!(effort.name()));
        }
    }
    if !output.is_empty() {
        set("output_config", Value::Object(output));
    }
    set("max_tokens", json!(limit));
    Ok(Value::Object(body))
}

fn system(prompt: &Prompt) -> String {
    let mut texts: Vec<String> = prompt
        .messages
        .iter()
        .filter(|message| message.role == "system")
        .map(text)
        .filter(|text| !text.is_empty())
        .collect();
    if prompt.json_object {
        texts.push(ONLY_JSON.to_owned());
    }
    texts.join("\n\n")
}

/// The conversation without the system's part. All answers to the calls of one message must be one message.
fn messages(messages: &[ChatMessage]) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for message in messages.iter().filter(|message| message.role != "system") {
        let role = if message.role == "assistant" { "assistant" } else { "user" };
        let blocks = blocks(message);
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(blocks),
            _ => turns.push((role, blocks)),
        }
    }
    turns.retain(|(_, blocks)| !blocks.is_empty());
    turns.into_iter().map(|(role, content)| json!({ "role": role, "content": content })).collect()
}

fn blocks(message: &ChatMessage) -> Vec<Value> {
    if message.role == "tool" {
        let id = &message.tool_call_id;
        return vec![json!({ "type": "tool_result", "tool_use_id": id, "content": text(message) })];
    }
    let mut blocks = thoughts(message);
    blocks.extend(parts(message).map(part));
    blocks.extend(message.tool_calls.iter().map(call));
    blocks
}

/// What the model thought, as it signed it.
fn thoughts(message: &ChatMessage) -> Vec<Value> {
    let signed = message.reasoning_signature.strip_prefix(SIGNED);
    signed.and_then(|blocks| serde_json::from_str(blocks).ok()).unwrap_or_default()
}

fn part(part: Part<'_>) -> Value {
    let source = match part {
        Part::Text(text) => return json!({ "type": "text", "text": text }),
        Part::Image(Image::Address(url)) => json!({ "type": "url", "url": url }),
        Part::Image(Image::Data { media_type, base64 }) => {
            json!({ "type": "base64", "media_type": media_type, "data": base64 })
        }
    };
    json!({ "type": "image", "source": source })
}

fn call(call: &ToolCall) -> Value {
    let input = match &call.arguments {
        Some(arguments) => json!(arguments),
        // What the model said, so that it can see its mistake.
        None => json!({ "invalid_arguments": call.invalid_arguments }),
    };
    json!({ "type": "tool_use", "id": call.id, "name": call.name, "input": input })
}

fn tool(tool: &ChatTool) -> Value {
    let mut schema = tool.parameters.clone().unwrap_or_default();
    schema.entry("type").or_insert_with(|| json!("object"));
    json!({ "name": tool.name, "description": tool.description, "input_schema": schema })
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "type": "auto" }),
        ToolChoice::None => json!({ "type": "none" }),
        ToolChoice::Required => json!({ "type": "any" }),
        ToolChoice::Named(name) => json!({ "type": "tool", "name": name }),
    }
}

/// The schema with `additionalProperties: false` wherever it lists properties, which Anthropic demands. What fits it fits the schema too.
fn closed(schema: Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let lists =
                fields.contains_key("properties") && !fields.contains_key("additionalProperties");
            let inside = |(name, value)| (name, closed(value));
            let mut fields: Map<String, Value> = fields.into_iter().map(inside).collect();
            if lists {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            Value::Object(fields)
        }
        Value::Array(items) => items.into_iter().map(closed).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use muster_contracts::llm::v1::{CompleteRequest, Parameters};

    use super::*;

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage { role: role.into(), content: content.into(), ..Default::default() }
    }

    fn prompt(messages: Vec<ChatMessage>, params: Parameters) -> Prompt {
        let tools = vec![ChatTool { name: "search".into(), ..Default::default() }];
        let params = Some(params);
        Prompt::parse(&CompleteRequest { messages, tools, params, ..Default::default() }).unwrap()
    }

    #[test]
    fn the_answers_to_parallel_calls_are_one_message() {
        let call = |id: &str| ToolCall {
            id: id.into(),
            name: "search".into(),
            arguments: Some(JsonObject::wrap(json!({ "q": id }))),
            ..Default::default()
        };
        let asked = ChatMessage {
            tool_calls: vec![call("a"), call("b")],
            reasoning: "hm".into(),
            reasoning_signature:
                r#"anthropic:[{"type":"thinking","thinking":"hm","signature":"s"}]"#.into(),
            ..message("assistant", "")
        };
        let answer = |id: &str| ChatMessage { tool_call_id: id.into(), ..message("tool", "7") };
        let talk = vec![
            message("system", "Be brief."),
            message("user", "find"),
            asked,
            answer("a"),
            answer("b"),
            message("user", "well?"),
        ];
        let body = body(&prompt(talk, Parameters::default()), "claude-x").unwrap();
        assert_eq!((&body["system"], &body["max_tokens"]), (&json!("Be brief."), &json!(8_192)));
        let expected = json!([
            { "role": "user", "content": [{ "type": "text", "text": "find" }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "tool_use", "id": "a", "name": "search", "input": { "q": "a" } },
                { "type": "tool_use", "id": "b", "name": "search", "input": { "q": "b" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "a", "content": "7" },
                { "type": "tool_result", "tool_use_id": "b", "content": "7" },
                { "type": "text", "text": "well?" },
            ] },
        ]);
        assert_eq!(body["messages"], expected);
        assert_eq!(body["tools"][0]["input_schema"], json!({ "type": "object" }));
    }

    #[test]
    fn parameters_have_anthropics_names() {
        let schema = json!({ "type": "object", "properties": { "a": { "type": "object", "properties": {} } } });
        let params = Parameters {
            response_schema: Some(JsonObject::wrap(schema)),
            stop: vec!["END".into()],
            tool_choice: "required".into(),
            reasoning_effort: "low".into(),
            top_p: Some(0.5),
            max_tokens: 100,
            ..Default::default()
        };
        let prompt = prompt(vec![message("user", "x")], params);
        let new = body(&prompt, "claude-sonnet-5").unwrap();
        assert_eq!(
            (&new["tool_choice"], &new["max_tokens"]),
            (&json!({ "type": "any" }), &json!(100))
        );
        assert_eq!((&new["stop_sequences"], &new["top_p"]), (&json!(["END"]), &json!(0.5)));
        assert_eq!(new["thinking"], json!({ "type": "adaptive" }));
        assert_eq!(new["output_config"]["effort"], json!("low"));
        let sent = &new["output_config"]["format"]["schema"];
        assert_eq!(sent["properties"]["a"]["additionalProperties"], json!(false));
        let old = body(&prompt, "claude-haiku-4-5").unwrap();
        assert_eq!(old["thinking"]["budget_tokens"], json!(1_024));
        assert_eq!(old["max_tokens"], json!(1_124));
    }

    #[test]
    fn what_anthropic_cannot_do_is_refused_or_said_in_words() {
        let hot = Parameters { temperature: Some(1.5), ..Default::default() };
        let error = body(&prompt(vec![message("user", "x")], hot), "m").unwrap_err();
        assert!(error.contains("0 to 1") && error.contains("1.5"), "{error}");
        let json_object = Parameters { json_object: true, ..Default::default() };
        let sent = body(&prompt(vec![message("user", "x")], json_object), "m").unwrap();
        assert!(sent["system"].as_str().unwrap().contains("one JSON object"));
    }
}
