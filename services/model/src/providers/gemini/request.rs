//! The body of a request in Google's format.

use muster_contracts::llm::v1::{ChatMessage, ChatTool, ToolCall};
use serde_json::{Map, Value, json};

use super::SIGNED;
use crate::domain::content::{Image, Part, parts, text};
use crate::domain::prompt::{Prompt, ToolChoice};
use crate::domain::thinking;
use crate::providers::Texts;

/// What Google takes in place of a signature for a call that another model made.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// The body of a request for a stream.
pub(super) fn body(prompt: &Prompt, model: &str) -> Value {
    let mut body = Map::new();
    let mut set = |field: &str, value: Value| drop(body.insert(field.to_owned(), value));
    set("contents", contents(&prompt.messages, is_old(model)));
    let system: Vec<Value> = prompt
        .messages
        .iter()
        .filter(|message| message.role == "system")
        .flat_map(|message| parts(message).map(part))
        .collect();
    if !system.is_empty() {
        set("systemInstruction", json!({ "parts": system }));
    }
    if !prompt.tools.is_empty() {
        let tools: Vec<Value> = prompt.tools.iter().map(tool).collect();
        set("tools", json!([{ "functionDeclarations": tools }]));
        set("toolConfig", json!({ "functionCallingConfig": choice(&prompt.tool_choice) }));
    }
    let config = config(prompt, model);
    if !config.is_empty() {
        set("generationConfig", Value::Object(config));
    }
    Value::Object(body)
}

/// Models before 3 are told how many tokens they may think, and sign nothing that they want back.
fn is_old(model: &str) -> bool {
    model.contains("gemini-1") || model.contains("gemini-2")
}

fn config(prompt: &Prompt, model: &str) -> Map<String, Value> {
    let mut config = Map::new();
    let mut set = |field: &str, value: Value| drop(config.insert(field.to_owned(), value));
    for (field, value) in [("temperature", prompt.temperature), ("topP", prompt.top_p)] {
        if let Some(value) = value {
            set(field, json!(value));
        }
    }
    let budget = thinking::budget("gemini", model, prompt.effort);
    // Without a limit of its own the answer may have as much as it likes.
    let answer = if prompt.max_tokens == 0 { u32::MAX } else { prompt.max_tokens };
    let (limit, thought) = thinking::split(prompt, answer, budget);
    if limit < u32::MAX {
        set("maxOutputTokens", json!(limit));
    }
    if !prompt.stop.is_empty() {
        set("stopSequences", json!(prompt.stop));
    }
    if let Some(seed) = prompt.seed {
        set("seed", json!(seed));
    }
    if prompt.json_object || prompt.response_schema.is_some() {
        set("responseMimeType", json!("application/json"));
    }
    if let Some(schema) = &prompt.response_schema {
        set("responseJsonSchema", json!(schema));
    }
    if let Some(effort) = prompt.effort {
        let thinking = match is_old(model) {
            true => thought.map(|thought| ("thinkingBudget", json!(thought))),
            false => Some(("thinkingLevel", json!(effort.name()))),
        };
        if let Some((field, value)) = thinking {
            set("thinkingConfig", json!({ "includeThoughts": true, field: value }));
        }
    }
    config
}

/// The conversation without the system's part. All answers to the calls of one message must be one content.
fn contents(messages: &[ChatMessage], old: bool) -> Value {
    let mut turns: Vec<(&str, Vec<Value>)> = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        let (role, parts) = match message.role.as_str() {
            "system" => continue,
            "assistant" => ("model", said(message, old)),
            "tool" => ("user", vec![answer(message, messages.get(..at).unwrap_or_default())]),
            _ => ("user", parts(message).map(part).collect()),
        };
        match turns.last_mut() {
            Some((last, all)) if *last == role => all.extend(parts),
            _ => turns.push((role, parts)),
        }
    }
    turns.retain(|(_, parts)| !parts.is_empty());
    turns.into_iter().map(|(role, parts)| json!({ "role": role, "parts": parts })).collect()
}

fn said(message: &ChatMessage, old: bool) -> Vec<Value> {
    let mut all: Vec<Value> = parts(message).map(part).collect();
    all.extend(message.tool_calls.iter().enumerate().map(|(at, one)| call(one, at == 0 && !old)));
    all
}

/// A call. Gemini wants the first of a turn to be signed.
fn call(call: &ToolCall, must_be_signed: bool) -> Value {
    let args = match &call.arguments {
        Some(arguments) => json!(arguments),
        // What the model said, so that it can see its mistake.
        None => json!({ "invalid_arguments": call.invalid_arguments }),
    };
    let mut part = json!({ "functionCall": { "name": call.name, "args": args } });
    let signature = call.signature.strip_prefix(SIGNED);
    let signature = if must_be_signed { signature.or(Some(UNSIGNED)) } else { signature };
    if let (Some(signature), Some(part)) = (signature, part.as_object_mut()) {
        part.insert("thoughtSignature".to_owned(), json!(signature));
    }
    part
}

/// What a tool answered: Gemini knows it by the name of the tool, and takes only objects.
fn answer(message: &ChatMessage, before: &[ChatMessage]) -> Value {
    let asked = before.iter().rev().flat_map(|other| &other.tool_calls);
    let asked = asked.clone().find(|call| call.id == message.tool_call_id);
    let name = asked.map_or(message.name.as_str(), |call| call.name.as_str());
    let text = text(message);
    let response = match serde_json::from_str(&text) {
        Ok(Value::Object(fields)) => Value::Object(fields),
        Ok(value) => json!({ "result": value }),
        Err(_no_json) => json!({ "result": text }),
    };
    json!({ "functionResponse": { "name": name, "response": response } })
}

fn part(part: Part<'_>) -> Value {
    match part {
        Part::Text(text) => json!({ "text": text }),
        Part::Image(Image::Data { media_type, base64 }) => {
            json!({ "inlineData": { "mimeType": media_type, "data": base64 } })
        }
        Part::Image(Image::Address(url)) => {
            let path = url.split(['?', '#']).next().unwrap_or(url).to_ascii_lowercase();
            let known = [(".png", "image/png"), (".gif", "image/gif"), (".webp", "image/webp")];
            let found = known.iter().find(|(end, _)| path.ends_with(end));
            let media_type = found.map_or("image/jpeg", |(_, media_type)| media_type);
            json!({ "fileData": { "mimeType": media_type, "fileUri": url } })
        }
    }
}

fn tool(tool: &ChatTool) -> Value {
    let mut declared = json!({ "name": tool.name, "description": tool.description });
    if let (Some(schema), Some(declared)) = (&tool.parameters, declared.as_object_mut()) {
        declared.insert("parametersJsonSchema".to_owned(), json!(schema));
    }
    declared
}

fn choice(choice: &ToolChoice) -> Value {
    match choice {
        ToolChoice::Auto => json!({ "mode": "AUTO" }),
        ToolChoice::None => json!({ "mode": "NONE" }),
        ToolChoice::Required => json!({ "mode": "ANY" }),
        ToolChoice::Named(name) => json!({ "mode": "ANY", "allowedFunctionNames": [name] }),
    }
}

/// The body of a request for vectors.
pub(super) fn embeddings(model: &str, texts: &Texts) -> Value {
    let one = |text: &String| {
        let mut one = json!({ "model": model, "content": { "parts": [{ "text": text }] } });
        if let (true, Some(one)) = (texts.dimensions > 0, one.as_object_mut()) {
            one.insert("outputDimensionality".to_owned(), json!(texts.dimensions));
        }
        one
    };
    json!({ "requests": texts.inputs.iter().map(one).collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use muster_contracts::llm::v1::{CompleteRequest, ContentPart, Parameters};

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
    fn a_conversation_becomes_contents() {
        let call = |id: &str, signature: &str| ToolCall {
            id: id.into(),
            name: "search".into(),
            arguments: Some(JsonObject::wrap(json!({ "q": id }))),
            signature: signature.into(),
            ..Default::default()
        };
        let asked = |first: &str| ChatMessage {
            tool_calls: vec![call("a", first), call("b", "")],
            ..message("assistant", "")
        };
        let answer =
            |id: &str, text: &str| ChatMessage { tool_call_id: id.into(), ..message("tool", text) };
        let talk = |first: &str| {
            vec![
                message("system", "Be brief."),
                message("user", "find"),
                asked(first),
                answer("a", "{\"n\":7}"),
                answer("b", "nothing"),
            ]
        };
        let sent = body(&prompt(talk("gemini:sig"), Parameters::default()), "gemini-3-pro");
        assert_eq!(sent["systemInstruction"], json!({ "parts": [{ "text": "Be brief." }] }));
        let expected = json!([
            { "role": "user", "parts": [{ "text": "find" }] },
            { "role": "model", "parts": [
                { "functionCall": { "name": "search", "args": { "q": "a" } }, "thoughtSignature": "sig" },
                { "functionCall": { "name": "search", "args": { "q": "b" } } },
            ] },
            { "role": "user", "parts": [
                { "functionResponse": { "name": "search", "response": { "n": 7 } } },
                { "functionResponse": { "name": "search", "response": { "result": "nothing" } } },
            ] },
        ]);
        assert_eq!(sent["contents"], expected);
        let signature = |signed: &str, model: &str| {
            let sent = body(&prompt(talk(signed), Parameters::default()), model);
            sent["contents"][1]["parts"][0]["thoughtSignature"].clone()
        };
        assert_eq!(signature("anthropic:x", "gemini-3-pro"), json!(UNSIGNED));
        assert_eq!(signature("", "gemini-2.5-flash"), Value::Null);
    }

    #[test]
    fn parameters_have_googles_names() {
        let params = Parameters {
            response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
            stop: vec!["END".into()],
            tool_choice: "search".into(),
            reasoning_effort: "low".into(),
            top_p: Some(0.5),
            temperature: Some(2.0),
            seed: Some(3),
            max_tokens: 100,
            ..Default::default()
        };
        let prompt = prompt(vec![message("user", "x")], params);
        let sent = body(&prompt, "gemini-2.5-flash");
        let expected = json!({ "temperature": 2.0, "topP": 0.5, "maxOutputTokens": 1_124, "stopSequences": ["END"],
            "seed": 3, "responseMimeType": "application/json", "responseJsonSchema": { "type": "object" },
            "thinkingConfig": { "includeThoughts": true, "thinkingBudget": 1_024 } });
        assert_eq!(sent["generationConfig"], expected);
        let mode = &sent["toolConfig"]["functionCallingConfig"];
        assert_eq!(mode, &json!({ "mode": "ANY", "allowedFunctionNames": ["search"] }));
        let sent = body(&prompt, "gemini-3-pro");
        assert_eq!(sent["generationConfig"]["thinkingConfig"]["thinkingLevel"], json!("low"));
    }

    #[test]
    fn images_stand_in_the_request_or_behind_an_address() {
        let picture = |url: &str| ContentPart {
            r#type: "image".into(),
            image_url: url.into(),
            ..Default::default()
        };
        let parts =
            vec![picture("https://x.example/a.PNG?b=1"), picture("data:image/webp;base64,aGk=")];
        let user = ChatMessage { parts, ..message("user", "") };
        let sent = body(&prompt(vec![user], Parameters::default()), "m");
        let expected = json!([
            { "fileData": { "mimeType": "image/png", "fileUri": "https://x.example/a.PNG?b=1" } },
            { "inlineData": { "mimeType": "image/webp", "data": "aGk=" } },
        ]);
        assert_eq!(sent["contents"][0]["parts"], expected);
    }
}
