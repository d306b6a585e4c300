//! What an OpenAI request means as a request to a model.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{
    ChatMessage, ChatTool, CompleteRequest, ContentPart, Parameters, ToolCall,
};
use serde_json::Value;

use crate::wire::openai::{
    AskedCall, AskedContent, AskedFormat, AskedMessage, AskedPart, AskedStop, AskedTool,
    AskedToolChoice, ChatRequest, Refusal,
};

/// What `model` begins with where it names an agent.
pub(crate) const AGENT: &str = "agent:";

/// The request to a model, without what the client's key and connection add to it.
pub(crate) fn complete_request(request: ChatRequest) -> Result<CompleteRequest, Refusal> {
    check_unsupported(&request)?;
    let params = parameters(&request)?;
    let tools = request.tools.unwrap_or_default();
    Ok(CompleteRequest {
        provider: "default".to_owned(),
        model: request.model,
        messages: messages(request.messages)?,
        tools: tools.into_iter().enumerate().map(tool).collect::<Result<_, _>>()?,
        params: Some(params),
        ..CompleteRequest::default()
    })
}

/// What would be lost without a word is refused.
fn check_unsupported(request: &ChatRequest) -> Result<(), Refusal> {
    let is_set = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let is_penalty = |value: Option<f64>| value.is_some_and(|value| value != 0.0);
    let other = |values: &Option<Vec<String>>| values.iter().flatten().any(|value| value != "text");
    let not_everywhere = "is not supported by every provider, and not passed on";
    let refused = [
        ("frequency_penalty", is_penalty(request.frequency_penalty), not_everywhere),
        ("presence_penalty", is_penalty(request.presence_penalty), not_everywhere),
        (
            "logit_bias",
            request.logit_bias.as_ref().is_some_and(|bias| !bias.is_empty()),
            not_everywhere,
        ),
        ("logprobs", request.logprobs == Some(true), not_everywhere),
        ("top_logprobs", request.top_logprobs.is_some_and(|count| count > 0), not_everywhere),
        ("modalities", other(&request.modalities), "can only be [\"text\"]"),
        ("audio", is_set(&request.audio), "is not supported: replies are texts"),
        ("prediction", is_set(&request.prediction), not_everywhere),
        (
            "web_search_options",
            is_set(&request.web_search_options),
            "is not supported: give the model a tool",
        ),
        ("functions", is_set(&request.functions), "was replaced by 'tools'"),
        ("function_call", is_set(&request.function_call), "was replaced by 'tool_choice'"),
        (
            "verbosity",
            request.verbosity.as_ref().is_some_and(|word| word != "medium"),
            not_everywhere,
        ),
    ];
    match refused.into_iter().find(|(_, is_refused, _)| *is_refused) {
        Some((param, _, why)) => Err(Refusal::unsupported(param, why)),
        None => match request.n {
            Some(count) if count != 1 => {
                let message = format!(
                    "Invalid 'n': {count}. One reply is made for each request: send the request again for another."
                );
                Err(Refusal::value("n", message))
            }
            _ => Ok(()),
        },
    }
}

fn parameters(request: &ChatRequest) -> Result<Parameters, Refusal> {
    let (response_schema, json_object) =
        request.response_format.as_ref().map_or(Ok((None, false)), format)?;
    let limit = request.max_completion_tokens.map(|limit| (limit, "max_completion_tokens"));
    let max_tokens = match limit.or_else(|| request.max_tokens.map(|limit| (limit, "max_tokens"))) {
        Some((0, param)) => {
            return Err(Refusal::value(
                param,
                format!("Invalid '{param}': 0. It must be at least 1."),
            ));
        }
        Some((limit, _)) => limit,
        None => 0,
    };
    let seed = request.seed.map(|seed| {
        i32::try_from(seed).map_err(|_too_large| {
            Refusal::value(
                "seed",
                format!("Invalid 'seed': {seed}. It must be -2147483648 to 2147483647."),
            )
        })
    });
    Ok(Parameters {
        temperature: request.temperature,
        max_tokens,
        response_schema,
        json_object,
        top_p: request.top_p,
        stop: stop(request.stop.as_ref())?,
        tool_choice: tool_choice(request.tool_choice.as_ref())?,
        seed: seed.transpose()?,
        reasoning_effort: request.reasoning_effort.clone().unwrap_or_default(),
    })
}

fn format(format: &AskedFormat) -> Result<(Option<JsonObject>, bool), Refusal> {
    match format.kind.as_str() {
        "text" => Ok((None, false)),
        "json_object" => Ok((None, true)),
        "json_schema" => {
            let schema = format
                .json_schema
                .as_ref()
                .ok_or_else(|| missing("response_format.json_schema"))?;
            Ok((Some(JsonObject(schema.schema.clone().unwrap_or_default())), false))
        }
        other => Err(Refusal::value(
            "response_format.type",
            format!(
                "Invalid value: '{other}'. Supported values are: 'text', 'json_object', and 'json_schema'."
            ),
        )),
    }
}

fn stop(stop: Option<&AskedStop>) -> Result<Vec<String>, Refusal> {
    let texts = match stop {
        None => Vec::new(),
        Some(AskedStop::One(text)) => vec![text.clone()],
        Some(AskedStop::Several(texts)) => texts.clone(),
    };
    if texts.len() > 4 {
        let message = format!("Invalid 'stop': {} texts. At most 4 are possible.", texts.len());
        return Err(Refusal::value("stop", message));
    }
    Ok(texts)
}

fn tool_choice(choice: Option<&AskedToolChoice>) -> Result<String, Refusal> {
    match choice {
        None => Ok(String::new()),
        Some(AskedToolChoice::Word(word))
            if matches!(word.as_str(), "auto" | "none" | "required") =>
        {
            Ok(word.clone())
        }
        Some(AskedToolChoice::Word(word)) => Err(Refusal::value(
            "tool_choice",
            format!(
                "Invalid value: '{word}'. Supported values are: 'none', 'auto', and 'required'."
            ),
        )),
        Some(AskedToolChoice::Tool(AskedTool { kind, function: Some(function) }))
            if kind == "function" =>
        {
            Ok(function.name.clone())
        }
        Some(AskedToolChoice::Tool(tool)) => Err(Refusal::value(
            "tool_choice.type",
            format!(
                "Invalid value: '{}'. It must be 'function', with the function's name.",
                tool.kind
            ),
        )),
    }
}

fn tool((at, tool): (usize, AskedTool)) -> Result<ChatTool, Refusal> {
    let AskedTool { kind, function: Some(function) } = tool else {
        return Err(missing(&format!("tools[{at}].function")));
    };
    if kind != "function" {
        let message = format!("Invalid value: '{kind}'. Supported values are: 'function'.");
        return Err(Refusal::value(format!("tools[{at}].type"), message));
    }
    Ok(ChatTool {
        name: function.name,
        description: function.description.unwrap_or_default(),
        parameters: function.parameters.map(JsonObject),
    })
}

/// The messages of a conversation.
pub(crate) fn messages(asked: Vec<AskedMessage>) -> Result<Vec<ChatMessage>, Refusal> {
    if asked.is_empty() {
        let message =
            "Invalid 'messages': empty array. Expected an array with at least one message.";
        return Err(Refusal::value("messages", message));
    }
    let mut messages: Vec<ChatMessage> = Vec::with_capacity(asked.len());
    for (at, asked) in asked.into_iter().enumerate() {
        let mut read = message(at, asked)?;
        if read.role == "tool" {
            // Some providers ask for the name too, which stands at the call.
            read.name = name_of_call(&messages, &read.tool_call_id).unwrap_or_default();
        }
        messages.push(read);
    }
    Ok(messages)
}

fn name_of_call(messages: &[ChatMessage], id: &str) -> Option<String> {
    let calls = messages.iter().rev().flat_map(|message| &message.tool_calls);
    calls.into_iter().find(|call| call.id == id).map(|call| call.name.clone())
}

fn message(at: usize, asked: AskedMessage) -> Result<ChatMessage, Refusal> {
    let role = match asked.role.as_str() {
        // What instructions are called for OpenAI's newer models.
        "developer" => "system",
        role @ ("system" | "user" | "assistant" | "tool") => role,
        other => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'system', 'developer', 'user', 'assistant', and 'tool'."
            );
            return Err(Refusal::value(format!("messages[{at}].role"), message));
        }
    };
    if role == "tool" && asked.tool_call_id.is_none() {
        return Err(missing(&format!("messages[{at}].tool_call_id")));
    }
    let (content, parts) = match asked.content {
        Some(content) => self::content(at, content)?,
        None if role == "assistant" => (asked.refusal.unwrap_or_default(), Vec::new()),
        None => return Err(missing(&format!("messages[{at}].content"))),
    };
    Ok(ChatMessage {
        role: role.to_owned(),
        content,
        parts,
        tool_calls: asked.tool_calls.unwrap_or_default().into_iter().map(call).collect(),
        tool_call_id: asked.tool_call_id.unwrap_or_default(),
        reasoning: asked.reasoning_content.unwrap_or_default(),
        reasoning_signature: asked.reasoning_signature.unwrap_or_default(),
        ..ChatMessage::default()
    })
}

/// A text stays one; what has several parts keeps them.
fn content(at: usize, content: AskedContent) -> Result<(String, Vec<ContentPart>), Refusal> {
    let parts = match content {
        AskedContent::Text(text) => return Ok((text, Vec::new())),
        AskedContent::Parts(parts) => parts,
    };
    let part = |(index, part)| self::part(&format!("messages[{at}].content[{index}]"), part);
    let mut parts = parts.into_iter().enumerate().map(part).collect::<Result<Vec<_>, _>>()?;
    match parts.as_mut_slice() {
        [only] if only.r#type == "text" => Ok((std::mem::take(&mut only.text), Vec::new())),
        _ => Ok((String::new(), parts)),
    }
}

fn part(place: &str, part: AskedPart) -> Result<ContentPart, Refusal> {
    let text = |text: Option<String>, field: &str| {
        let text = text.ok_or_else(|| missing(&format!("{place}.{field}")))?;
        Ok(ContentPart { r#type: "text".to_owned(), text, ..ContentPart::default() })
    };
    match part.kind.as_str() {
        "text" => text(part.text, "text"),
        "refusal" => text(part.refusal, "refusal"),
        "image_url" => {
            let image = part.image_url.ok_or_else(|| missing(&format!("{place}.image_url")))?;
            if !image.url.starts_with("https://") && !image.url.starts_with("data:image/") {
                let message = format!(
                    "Invalid '{place}.image_url.url': '{:.40}'. It must be an https address, or data:image/…;base64,…",
                    image.url
                );
                return Err(Refusal::value(format!("{place}.image_url.url"), message));
            }
            Ok(ContentPart {
                r#type: "image".to_owned(),
                image_url: image.url,
                ..ContentPart::default()
            })
        }
        other => Err(Refusal::value(
            format!("{place}.type"),
            format!(
                "Invalid value: '{other}'. Supported values are: 'text', 'image_url', and 'refusal'."
            ),
        )),
    }
}

fn call(call: AskedCall) -> ToolCall {
    let (arguments, invalid_arguments) = match serde_json::from_str(&call.function.arguments) {
        Ok(Value::Object(arguments)) => (Some(JsonObject(arguments)), String::new()),
        _ if call.function.arguments.trim().is_empty() => {
            (Some(JsonObject::default()), String::new())
        }
        _ => (None, call.function.arguments),
    };
    ToolCall {
        id: call.id,
        name: call.function.name,
        arguments,
        invalid_arguments,
        signature: call.signature,
    }
}

fn missing(param: &str) -> Refusal {
    Refusal {
        message: format!("Missing required parameter: '{param}'."),
        param: Some(param.to_owned()),
        code: Some("missing_required_parameter"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(more: Value) -> Result<CompleteRequest, Refusal> {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        complete_request(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_conversation_with_images_and_tools_is_read() {
        let request = read(json!({ "messages": [
            { "role": "developer", "content": "Be brief." },
            { "role": "user", "name": "ada", "content": [
                { "type": "text", "text": "what is this?" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AA==", "detail": "low" } },
            ] },
            { "role": "assistant", "content": null, "annotations": [], "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "look", "arguments": "{\"n\": 1}" } },
                { "id": "c2", "type": "function", "function": { "name": "see", "arguments": "{" } },
            ] },
            { "role": "tool", "tool_call_id": "c1", "content": [{ "type": "text", "text": "a boat" }] },
        ] }))
        .unwrap();
        let roles: Vec<&str> =
            request.messages.iter().map(|message| message.role.as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "tool"]);
        let parts = &request.messages[1].parts;
        assert_eq!((parts[0].text.as_str(), parts[1].r#type.as_str()), ("what is this?", "image"));
        let calls = &request.messages[2].tool_calls;
        assert_eq!(calls[0].arguments.clone().unwrap().into_value(), json!({ "n": 1 }));
        assert_eq!(
            (calls[1].arguments.is_none(), calls[1].invalid_arguments.as_str()),
            (true, "{")
        );
        assert_eq!(
            (request.messages[3].content.as_str(), request.messages[3].name.as_str()),
            ("a boat", "look")
        );
    }

    #[test]
    fn parameters_are_read() {
        let request = read(json!({
            "max_tokens": 5, "max_completion_tokens": 7, "stop": "END", "seed": 3, "top_p": 0.5, "n": 1, "user": "u",
            "tool_choice": { "type": "function", "function": { "name": "look" } }, "metadata": { "a": "b" },
            "response_format": { "type": "json_schema", "json_schema": { "name": "x", "schema": { "type": "object" } } },
            "frequency_penalty": 0, "logprobs": false, "tools": null,
        }));
        let params = request.unwrap().params.unwrap();
        assert_eq!((params.max_tokens, params.stop.as_slice()), (7, ["END".to_owned()].as_slice()));
        assert_eq!((params.tool_choice.as_str(), params.seed), ("look", Some(3)));
        assert_eq!(params.response_schema.unwrap().into_value(), json!({ "type": "object" }));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_place() {
        let check = |more: Value, param: &str, code: &str| {
            let refusal = read(more).unwrap_err();
            assert_eq!(
                (refusal.param.as_deref(), refusal.code),
                (Some(param), Some(code)),
                "{refusal:?}"
            );
        };
        check(json!({ "n": 2 }), "n", "invalid_value");
        check(json!({ "logprobs": true }), "logprobs", "unsupported_parameter");
        check(json!({ "presence_penalty": 0.5 }), "presence_penalty", "unsupported_parameter");
        check(json!({ "messages": [] }), "messages", "invalid_value");
        check(
            json!({ "messages": [{ "role": "robot", "content": "" }] }),
            "messages[0].role",
            "invalid_value",
        );
        check(
            json!({ "messages": [{ "role": "user" }] }),
            "messages[0].content",
            "missing_required_parameter",
        );
        let part = json!({ "type": "image_url", "image_url": { "url": "http://x/a.png" } });
        let place = "messages[0].content[0].image_url.url";
        check(
            json!({ "messages": [{ "role": "user", "content": [part] }] }),
            place,
            "invalid_value",
        );
        check(json!({ "tool_choice": "maybe" }), "tool_choice", "invalid_value");
        check(
            json!({ "tools": [{ "type": "custom" }] }),
            "tools[0].function",
            "missing_required_parameter",
        );
        check(json!({ "max_tokens": 0 }), "max_tokens", "invalid_value");
        check(json!({ "seed": 9_000_000_000_i64 }), "seed", "invalid_value");
        check(json!({ "stop": ["a", "b", "c", "d", "e"] }), "stop", "invalid_value");
        check(
            json!({ "response_format": { "type": "xml" } }),
            "response_format.type",
            "invalid_value",
        );
    }
}
