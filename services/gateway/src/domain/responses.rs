//! What a request to `/v1/responses` means as one to `/v1/chat/completions`.

use serde_json::{Value, json};

use crate::wire::openai::{
    AskedCall, AskedCallOf, AskedContent, AskedFormat, AskedFunction, AskedImage, AskedMessage,
    AskedPart, AskedSchema, AskedTool, AskedToolChoice, ChatRequest, Item, ItemContent, ItemInput,
    ItemPart, Refusal, ResponsesRequest, ResponsesTool,
};

/// The same request in the other format.
pub(crate) fn chat_request(request: ResponsesRequest) -> Result<ChatRequest, Refusal> {
    check_unsupported(&request)?;
    let tools = request.tools.unwrap_or_default();
    let text = request.text.unwrap_or_default();
    Ok(ChatRequest {
        messages: messages(request.instructions, request.input)?,
        tools: Some(tools.into_iter().enumerate().map(tool).collect::<Result<_, _>>()?),
        tool_choice: request.tool_choice.map(tool_choice).transpose()?,
        response_format: text.format.map(|format| AskedFormat {
            json_schema: Some(AskedSchema { schema: format.schema }),
            kind: format.kind,
        }),
        verbosity: text.verbosity,
        model: request.model,
        stream: request.stream,
        parallel_tool_calls: request.parallel_tool_calls,
        temperature: request.temperature,
        top_p: request.top_p,
        max_completion_tokens: request.max_output_tokens,
        reasoning_effort: request.reasoning.and_then(|reasoning| reasoning.effort),
        top_logprobs: request.top_logprobs,
        ..ChatRequest::default()
    })
}

/// A refusal of the other format with the name that the parameter has in this one.
pub(crate) fn renamed(refusal: Refusal) -> Refusal {
    let names = [
        ("max_completion_tokens", "max_output_tokens"),
        ("response_format", "text.format"),
        ("reasoning_effort", "reasoning.effort"),
        ("verbosity", "text.verbosity"),
        ("messages", "input"),
    ];
    let Some(param) = &refusal.param else { return refusal };
    let Some((theirs, ours)) = names.into_iter().find(|(theirs, _)| param.starts_with(theirs))
    else {
        return refusal;
    };
    Refusal {
        param: Some(param.replacen(theirs, ours, 1)),
        message: refusal.message.replace(theirs, ours),
        code: refusal.code,
    }
}

/// The parts of the request that its response repeats.
pub(crate) fn echo(body: &[u8]) -> Value {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let or = |name: &str, default: Value| match asked.get(name) {
        Some(value) if !value.is_null() => value.clone(),
        _ => default,
    };
    json!({
        "background": false,
        "instructions": or("instructions", Value::Null),
        "max_output_tokens": or("max_output_tokens", Value::Null),
        "metadata": or("metadata", json!({})),
        "parallel_tool_calls": or("parallel_tool_calls", json!(true)),
        "previous_response_id": null,
        "reasoning": or("reasoning", json!({ "effort": null, "summary": null })),
        // Nothing is kept: a conversation is sent whole.
        "store": false,
        "temperature": or("temperature", Value::Null),
        "text": or("text", json!({ "format": { "type": "text" } })),
        "tool_choice": or("tool_choice", json!("auto")),
        "tools": or("tools", json!([])),
        "top_p": or("top_p", Value::Null),
        "truncation": "disabled",
    })
}

/// What would be lost without a word is refused.
fn check_unsupported(request: &ResponsesRequest) -> Result<(), Refusal> {
    let is_set = |value: &Option<Value>| value.as_ref().is_some_and(|value| !value.is_null());
    let whole = "is not supported: nothing is stored, so send the conversation whole as 'input'";
    let refused = [
        ("previous_response_id", is_set(&request.previous_response_id), whole),
        ("conversation", is_set(&request.conversation), whole),
        ("prompt", is_set(&request.prompt), "is not supported: ask an agent by 'agent:NAME'"),
        (
            "background",
            request.background == Some(true),
            "is not supported: start an execution of a workflow",
        ),
        (
            "truncation",
            request.truncation.as_ref().is_some_and(|word| word != "disabled"),
            "can only be 'disabled'",
        ),
        ("max_tool_calls", request.max_tool_calls.is_some(), "is about built-in tools only"),
    ];
    let refused = refused.into_iter().find(|(_, is_refused, _)| *is_refused);
    refused.map_or(Ok(()), |(param, _, why)| Err(Refusal::unsupported(param, why)))
}

fn tool((at, tool): (usize, ResponsesTool)) -> Result<AskedTool, Refusal> {
    if tool.kind != "function" {
        let message = format!(
            "Invalid value: '{}'. Supported values are: 'function'. Built-in tools run at OpenAI only.",
            tool.kind
        );
        return Err(Refusal::value(format!("tools[{at}].type"), message));
    }
    let name = tool.name.ok_or_else(|| missing(format!("tools[{at}].name")))?;
    let function =
        AskedFunction { name, description: tool.description, parameters: tool.parameters };
    Ok(AskedTool { kind: tool.kind, function: Some(function) })
}

fn tool_choice(choice: Value) -> Result<AskedToolChoice, Refusal> {
    if let Value::String(word) = choice {
        return Ok(AskedToolChoice::Word(word));
    }
    let text = |name: &str| choice.get(name).and_then(Value::as_str).map(str::to_owned);
    match (text("type").as_deref(), text("name")) {
        (Some("function"), Some(name)) => Ok(AskedToolChoice::Tool(AskedTool {
            kind: "function".to_owned(),
            function: Some(AskedFunction { name, ..AskedFunction::default() }),
        })),
        _ => Err(Refusal::value(
            "tool_choice",
            format!(
                "Invalid value: {choice:.100}. It must be 'none', 'auto', 'required', or a function with its name."
            ),
        )),
    }
}

fn messages(instructions: Option<String>, input: ItemInput) -> Result<Vec<AskedMessage>, Refusal> {
    let text = |role: &str, text: String| AskedMessage {
        role: role.to_owned(),
        content: Some(AskedContent::Text(text)),
        ..AskedMessage::default()
    };
    let mut told = Told { messages: Vec::new(), assistant: None };
    told.messages.extend(instructions.map(|instructions| text("system", instructions)));
    match input {
        ItemInput::Text(said) => told.messages.push(text("user", said)),
        ItemInput::Items(items) => {
            for (at, item) in items.into_iter().enumerate() {
                told.add(&format!("input[{at}]"), item)?;
            }
        }
    }
    told.close();
    Ok(told.messages)
}

/// A conversation while its items are read: what a model said in one reply stands in several.
struct Told {
    messages: Vec<AskedMessage>,
    assistant: Option<AskedMessage>,
}

impl Told {
    fn add(&mut self, place: &str, item: Item) -> Result<(), Refusal> {
        match item.kind.as_deref().unwrap_or("message") {
            "message" => self.message(place, item),
            "function_call" => self.call(place, item),
            "function_call_output" => self.result(place, item),
            "reasoning" => {
                self.thought(item);
                Ok(())
            }
            other => {
                let message = format!(
                    "Invalid value: '{other}'. Supported values are: 'message', 'function_call', 'function_call_output', and 'reasoning'."
                );
                Err(Refusal::value(format!("{place}.type"), message))
            }
        }
    }

    fn message(&mut self, place: &str, item: Item) -> Result<(), Refusal> {
        let role = item.role.ok_or_else(|| missing(format!("{place}.role")))?;
        let known = ["system", "developer", "user", "assistant"].contains(&role.as_str());
        if !known {
            let message = format!(
                "Invalid value: '{role}'. Supported values are: 'system', 'developer', 'user', and 'assistant'."
            );
            return Err(Refusal::value(format!("{place}.role"), message));
        }
        let content = item.content.ok_or_else(|| missing(format!("{place}.content")))?;
        let content = Some(self::content(place, content)?);
        if role == "assistant" {
            let is_fresh =
                |open: &AskedMessage| open.content.is_none() && open.tool_calls.is_none();
            self.assistant(is_fresh).content = content;
        } else {
            self.close();
            self.messages.push(AskedMessage { role, content, ..AskedMessage::default() });
        }
        Ok(())
    }

    fn call(&mut self, place: &str, item: Item) -> Result<(), Refusal> {
        let call = AskedCall {
            id: item.call_id.ok_or_else(|| missing(format!("{place}.call_id")))?,
            function: AskedCallOf {
                name: item.name.ok_or_else(|| missing(format!("{place}.name")))?,
                arguments: item.arguments.unwrap_or_default(),
            },
            signature: item.signature,
        };
        self.assistant(|_| true).tool_calls.get_or_insert_default().push(call);
        Ok(())
    }

    fn result(&mut self, place: &str, item: Item) -> Result<(), Refusal> {
        self.close();
        let output = item.output.ok_or_else(|| missing(format!("{place}.output")))?;
        let call_id = item.call_id.ok_or_else(|| missing(format!("{place}.call_id")))?;
        self.messages.push(AskedMessage {
            role: "tool".to_owned(),
            content: Some(content(place, output)?),
            tool_call_id: Some(call_id),
            ..AskedMessage::default()
        });
        Ok(())
    }

    fn thought(&mut self, item: Item) {
        let texts = item.summary.into_iter().flatten().filter_map(|part| part.text);
        let text = texts.collect::<Vec<_>>().join("\n");
        let is_fresh = |open: &AskedMessage| open.content.is_none() && open.tool_calls.is_none();
        let open = self.assistant(is_fresh);
        open.reasoning_content = Some(text);
        open.reasoning_signature = item.encrypted_content;
    }

    /// The reply that is read, or another one where it has such a part already.
    fn assistant(&mut self, fits: impl Fn(&AskedMessage) -> bool) -> &mut AskedMessage {
        if !self.assistant.as_ref().is_some_and(fits) {
            self.close();
        }
        self.assistant.get_or_insert_with(|| AskedMessage {
            role: "assistant".to_owned(),
            ..AskedMessage::default()
        })
    }

    fn close(&mut self) {
        self.messages.extend(self.assistant.take());
    }
}

fn content(place: &str, content: ItemContent) -> Result<AskedContent, Refusal> {
    match content {
        ItemContent::Text(text) => Ok(AskedContent::Text(text)),
        ItemContent::Parts(parts) => {
            let part = |(at, part)| self::part(&format!("{place}.content[{at}]"), part);
            parts
                .into_iter()
                .enumerate()
                .map(part)
                .collect::<Result<_, _>>()
                .map(AskedContent::Parts)
        }
    }
}

fn part(place: &str, part: ItemPart) -> Result<AskedPart, Refusal> {
    let part = match (part.kind.as_str(), part.text, part.refusal, part.image_url) {
        ("input_text" | "output_text" | "text", Some(text), _, _) => {
            AskedPart { kind: "text".to_owned(), text: Some(text), ..AskedPart::default() }
        }
        ("refusal", _, Some(text), _) => {
            AskedPart { kind: "refusal".to_owned(), refusal: Some(text), ..AskedPart::default() }
        }
        ("input_image", _, _, Some(url)) => {
            if !url.starts_with("https://") && !url.starts_with("data:image/") {
                let message = format!(
                    "Invalid '{place}.image_url': '{url:.40}'. It must be an https address, or data:image/…;base64,…"
                );
                return Err(Refusal::value(format!("{place}.image_url"), message));
            }
            let image_url = Some(AskedImage { url });
            AskedPart { kind: "image_url".to_owned(), image_url, ..AskedPart::default() }
        }
        ("input_image", ..) => return Err(missing(format!("{place}.image_url"))),
        ("input_text" | "output_text" | "text", ..) => {
            return Err(missing(format!("{place}.text")));
        }
        (other, ..) => {
            let message = format!(
                "Invalid value: '{other}'. Supported values are: 'input_text', 'output_text', 'input_image', and 'refusal'."
            );
            return Err(Refusal::value(format!("{place}.type"), message));
        }
    };
    Ok(part)
}

fn missing(param: String) -> Refusal {
    Refusal {
        message: format!("Missing required parameter: '{param}'."),
        param: Some(param),
        code: Some("missing_required_parameter"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::openai::complete_request;

    fn read(more: Value) -> Result<ChatRequest, Refusal> {
        let mut body = json!({ "model": "m", "input": "hi" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        chat_request(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn a_text_with_instructions_is_two_messages() {
        let request = complete_request(read(json!({ "instructions": "Be brief." })).unwrap());
        let told: Vec<(String, String)> =
            request.unwrap().messages.into_iter().map(|one| (one.role, one.content)).collect();
        let expected = [("system", "Be brief."), ("user", "hi")];
        assert_eq!(told, expected.map(|(role, text)| (role.to_owned(), text.to_owned())));
    }

    #[test]
    fn what_a_model_said_in_one_reply_is_one_message() {
        let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "look", "arguments": "{\"n\":1}", "id": "fc_1", "status": "completed", "signature": "s" });
        let result =
            |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": "a boat" });
        let thought = json!({ "type": "reasoning", "id": "rs_1", "summary": [{ "type": "summary_text", "text": "hm" }], "encrypted_content": "signed" });
        let said = json!({ "type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [{ "type": "output_text", "text": "Let me look.", "annotations": [] }] });
        let input = json!([
            { "role": "user", "content": [{ "type": "input_text", "text": "what?" }, { "type": "input_image", "image_url": "https://x/a.png" }] },
            thought, said, call("c1"), call("c2"), result("c1"), result("c2"),
            { "role": "assistant", "content": "A boat." }, { "role": "assistant", "content": "And more." },
        ]);
        let request = complete_request(read(json!({ "input": input })).unwrap()).unwrap();
        let roles: Vec<&str> = request.messages.iter().map(|one| one.role.as_str()).collect();
        assert_eq!(roles, ["user", "assistant", "tool", "tool", "assistant", "assistant"]);
        let reply = &request.messages[1];
        assert_eq!(
            (reply.reasoning.as_str(), reply.reasoning_signature.as_str()),
            ("hm", "signed")
        );
        assert_eq!((reply.content.as_str(), reply.tool_calls.len()), ("Let me look.", 2));
        assert_eq!(reply.tool_calls[0].signature, "s");
        assert_eq!(
            (request.messages[2].name.as_str(), request.messages[2].content.as_str()),
            ("look", "a boat")
        );
        assert_eq!(request.messages[0].parts.len(), 2);
    }

    #[test]
    fn parameters_have_their_names_of_the_other_format() {
        let request = read(json!({
            "max_output_tokens": 9, "reasoning": { "effort": "low", "summary": "auto" },
            "text": { "format": { "type": "json_schema", "name": "x", "schema": { "type": "object" }, "strict": true }, "verbosity": "medium" },
            "tools": [{ "type": "function", "name": "look", "parameters": {}, "strict": true }],
            "tool_choice": { "type": "function", "name": "look" }, "store": true, "include": [],
        }));
        let request = complete_request(request.unwrap()).unwrap();
        let params = request.params.unwrap();
        assert_eq!((params.max_tokens, params.reasoning_effort.as_str()), (9, "low"));
        assert!(params.response_schema.is_some());
        assert_eq!((params.tool_choice.as_str(), request.tools[0].name.as_str()), ("look", "look"));
    }

    #[test]
    fn what_cannot_be_done_is_refused_with_its_place() {
        let check = |more: Value, param: &str| {
            let refused = read(more).and_then(|chat| complete_request(chat).map(drop));
            let refusal = renamed(refused.unwrap_err());
            assert_eq!(refusal.param.as_deref(), Some(param), "{refusal:?}");
        };
        check(json!({ "previous_response_id": "resp_1" }), "previous_response_id");
        check(json!({ "background": true }), "background");
        check(json!({ "tools": [{ "type": "web_search" }] }), "tools[0].type");
        check(json!({ "tool_choice": { "type": "mcp" } }), "tool_choice");
        check(json!({ "max_output_tokens": 0 }), "max_output_tokens");
        check(json!({ "text": { "format": { "type": "xml" } } }), "text.format.type");
        check(json!({ "input": [] }), "input");
        check(json!({ "input": [{ "type": "item_reference" }] }), "input[0].type");
        check(json!({ "input": [{ "role": "tool", "content": "x" }] }), "input[0].role");
        check(json!({ "input": [{ "role": "user" }] }), "input[0].content");
        check(
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_file" }] }] }),
            "input[0].content[0].type",
        );
        check(json!({ "input": [{ "type": "function_call", "name": "x" }] }), "input[0].call_id");
    }
}
