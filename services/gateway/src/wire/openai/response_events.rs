//! How a reply is written: the events of `/v1/responses`, and what they share with the pieces of `/v1/chat/completions`.

use bytes::{BufMut, BytesMut};
use muster_contracts::llm::v1::{ChatMessage, CompleteResponse, TokenUsage, ToolCall};
use serde_json::{Value, json};

use crate::problem::Problem;

/// Writes one reply, whole or in pieces.
pub(crate) trait Writer: Send + 'static {
    /// The body of a whole reply.
    fn whole(&self, response: &CompleteResponse, message: &ChatMessage) -> Vec<u8>;
    /// What comes before the first piece.
    fn begin(&mut self, to: &mut BytesMut);
    /// A piece of what the model thinks before it answers.
    fn thought(&mut self, to: &mut BytesMut, thought: &str);
    /// A piece of the text.
    fn text(&mut self, to: &mut BytesMut, text: &str);
    /// What the provider wants to have back beside the thoughts.
    fn signature(&mut self, to: &mut BytesMut, signature: &str);
    /// Calls of tools, whole.
    fn calls(&mut self, to: &mut BytesMut, calls: &[ToolCall]);
    /// Why it ended and what was used.
    fn end(&mut self, to: &mut BytesMut, response: &CompleteResponse);
    /// That it broke off.
    fn fail(&mut self, to: &mut BytesMut, problem: &Problem);
}

/// Writes a reply in the format of `/v1/responses`.
pub(crate) struct Events {
    /// What ids end with.
    name: String,
    created: i64,
    model: String,
    /// The parts of the request that the response repeats.
    echo: Value,
    sequence: u64,
    /// The items so far, in their order.
    output: Vec<Value>,
    thought: Option<Open>,
    said: Option<Open>,
}

/// An item whose text still grows.
struct Open {
    index: usize,
    text: String,
    signature: Option<String>,
}

impl Events {
    pub(crate) fn new(name: String, created: i64, model: &str, echo: Value) -> Self {
        Self {
            name,
            created,
            model: model.to_owned(),
            echo,
            sequence: 0,
            output: Vec::new(),
            thought: None,
            said: None,
        }
    }

    fn response(&self, status: &str, more: Value) -> Value {
        let mut response = self.echo.clone();
        if let Value::Object(fields) = &mut response {
            let own = json!({
                "id": format!("resp_{}", self.name),
                "object": "response",
                "created_at": self.created,
                "status": status,
                "error": null,
                "incomplete_details": null,
                "model": self.model,
                "output": self.output,
                "usage": null,
            });
            for part in [own, more] {
                if let Value::Object(part) = part {
                    fields.extend(part);
                }
            }
        }
        response
    }

    fn event(&mut self, to: &mut BytesMut, kind: &str, data: Value) {
        let mut event = json!({ "type": kind, "sequence_number": self.sequence });
        if let (Value::Object(event), Value::Object(data)) = (&mut event, data) {
            event.extend(data);
        }
        self.sequence += 1;
        to.put_slice(format!("event: {kind}\ndata: {event}\n\n").as_bytes());
    }

    /// A new item at the end of the output.
    fn add(&mut self, to: &mut BytesMut, item: Value) -> usize {
        let index = self.output.len();
        self.event(
            to,
            "response.output_item.added",
            json!({ "output_index": index, "item": item }),
        );
        self.output.push(item);
        index
    }

    fn done(&mut self, to: &mut BytesMut, index: usize, item: Value) {
        self.event(to, "response.output_item.done", json!({ "output_index": index, "item": item }));
        if let Some(place) = self.output.get_mut(index) {
            *place = item;
        }
    }

    /// The place of the thoughts, which are told first.
    fn thinking(&mut self, to: &mut BytesMut) -> usize {
        if let Some(open) = &self.thought {
            return open.index;
        }
        let item = thought(&self.name, None, None);
        let index = self.add(to, item);
        self.thought = Some(Open { index, text: String::new(), signature: None });
        let part = json!({ "type": "summary_text", "text": "" });
        self.event(
            to,
            "response.reasoning_summary_part.added",
            json!({ "item_id": format!("rs_{}", self.name), "output_index": index, "summary_index": 0, "part": part }),
        );
        index
    }

    fn speaking(&mut self, to: &mut BytesMut) -> usize {
        if let Some(open) = &self.said {
            return open.index;
        }
        let index = self.add(to, said(&self.name, None));
        self.said = Some(Open { index, text: String::new(), signature: None });
        let part = output_text("");
        self.event(
            to,
            "response.content_part.added",
            json!({ "item_id": format!("msg_{}", self.name), "output_index": index, "content_index": 0, "part": part }),
        );
        index
    }

    fn close(&mut self, to: &mut BytesMut) {
        if let Some(Open { index, text, signature }) = self.thought.take() {
            let id = format!("rs_{}", self.name);
            let of = |more: Value| {
                merged(json!({ "item_id": id, "output_index": index, "summary_index": 0 }), more)
            };
            self.event(to, "response.reasoning_summary_text.done", of(json!({ "text": text })));
            let part = json!({ "part": { "type": "summary_text", "text": text } });
            self.event(to, "response.reasoning_summary_part.done", of(part));
            self.done(to, index, thought(&self.name, Some(&text), signature.as_deref()));
        }
        if let Some(Open { index, text, .. }) = self.said.take() {
            let id = format!("msg_{}", self.name);
            let of = |more: Value| {
                merged(json!({ "item_id": id, "output_index": index, "content_index": 0 }), more)
            };
            let done = of(json!({ "text": text, "logprobs": [] }));
            self.event(to, "response.output_text.done", done);
            self.event(to, "response.content_part.done", of(json!({ "part": output_text(&text) })));
            self.done(to, index, said(&self.name, Some(&text)));
        }
    }
}

impl Writer for Events {
    fn whole(&self, response: &CompleteResponse, message: &ChatMessage) -> Vec<u8> {
        let mut output = Vec::new();
        if !message.reasoning.is_empty() || !message.reasoning_signature.is_empty() {
            let signature =
                Some(message.reasoning_signature.as_str()).filter(|one| !one.is_empty());
            output.push(thought(&self.name, Some(&message.reasoning), signature));
        }
        if !message.content.is_empty() || message.tool_calls.is_empty() {
            output.push(said(&self.name, Some(&message.content)));
        }
        let calls = message.tool_calls.iter().zip(1..);
        output.extend(calls.map(|(call, number)| called(&self.name, number, call, true)));
        let (_, status, details) = end(&response.finish_reason);
        let more = json!({ "incomplete_details": details, "output": output, "usage": usage(response.usage) });
        let more = merged(more, json!({ "model": response.model }));
        serde_json::to_vec(&self.response(status, more)).unwrap_or_default()
    }

    fn begin(&mut self, to: &mut BytesMut) {
        for kind in ["response.created", "response.in_progress"] {
            let response = self.response("in_progress", Value::Null);
            self.event(to, kind, json!({ "response": response }));
        }
    }

    fn thought(&mut self, to: &mut BytesMut, thought: &str) {
        let index = self.thinking(to);
        if let Some(open) = &mut self.thought {
            open.text.push_str(thought);
        }
        let id = format!("rs_{}", self.name);
        let data =
            json!({ "item_id": id, "output_index": index, "summary_index": 0, "delta": thought });
        self.event(to, "response.reasoning_summary_text.delta", data);
    }

    fn text(&mut self, to: &mut BytesMut, text: &str) {
        let index = self.speaking(to);
        if let Some(open) = &mut self.said {
            open.text.push_str(text);
        }
        let id = format!("msg_{}", self.name);
        let data = json!({ "item_id": id, "output_index": index, "content_index": 0, "delta": text, "logprobs": [] });
        self.event(to, "response.output_text.delta", data);
    }

    fn signature(&mut self, to: &mut BytesMut, signature: &str) {
        self.thinking(to);
        if let Some(open) = &mut self.thought {
            open.signature = Some(signature.to_owned());
        }
    }

    fn calls(&mut self, to: &mut BytesMut, calls: &[ToolCall]) {
        if calls.is_empty() && self.said.is_none() {
            self.speaking(to);
        }
        self.close(to);
        for (call, number) in calls.iter().zip(1..) {
            let index = self.add(to, called(&self.name, number, call, false));
            let (id, arguments) = (call_id(&self.name, number), arguments(call));
            let of = |more: Value| merged(json!({ "item_id": id, "output_index": index }), more);
            let delta = of(json!({ "delta": arguments }));
            self.event(to, "response.function_call_arguments.delta", delta);
            let done = of(json!({ "arguments": arguments, "name": call.name }));
            self.event(to, "response.function_call_arguments.done", done);
            self.done(to, index, called(&self.name, number, call, true));
        }
    }

    fn end(&mut self, to: &mut BytesMut, response: &CompleteResponse) {
        let (kind, status, details) = end(&response.finish_reason);
        let more = json!({ "incomplete_details": details, "usage": usage(response.usage), "model": response.model });
        let response = self.response(status, more);
        self.event(to, kind, json!({ "response": response }));
    }

    fn fail(&mut self, to: &mut BytesMut, problem: &Problem) {
        let code = match problem.status {
            429 => "rate_limit_exceeded",
            400..500 => "invalid_prompt",
            _ => "server_error",
        };
        let error = json!({ "error": { "code": code, "message": problem.detail } });
        let response = self.response("failed", error);
        self.event(to, "response.failed", json!({ "response": response }));
    }
}

/// The last event, the status, and what is missing.
fn end(finish_reason: &str) -> (&'static str, &'static str, Value) {
    let incomplete =
        |reason: &str| ("response.incomplete", "incomplete", json!({ "reason": reason }));
    match finish_reason {
        "length" => incomplete("max_output_tokens"),
        "content_filter" => incomplete("content_filter"),
        _ => ("response.completed", "completed", Value::Null),
    }
}

/// What the model thought; without a text as long as that grows.
fn thought(name: &str, text: Option<&str>, signature: Option<&str>) -> Value {
    let summary = text.filter(|text| !text.is_empty());
    let summary = summary.map(|text| json!({ "type": "summary_text", "text": text }));
    let summary: Vec<Value> = summary.into_iter().collect();
    json!({ "id": format!("rs_{name}"), "type": "reasoning", "summary": summary, "encrypted_content": signature })
}

/// What the model said; without a text as long as that grows.
fn said(name: &str, text: Option<&str>) -> Value {
    let status = if text.is_some() { "completed" } else { "in_progress" };
    let content: Vec<Value> = text.map(output_text).into_iter().collect();
    json!({ "id": format!("msg_{name}"), "type": "message", "status": status, "role": "assistant", "content": content })
}

fn output_text(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn called(name: &str, number: usize, call: &ToolCall, is_whole: bool) -> Value {
    let status = if is_whole { "completed" } else { "in_progress" };
    let arguments = if is_whole { arguments(call) } else { String::new() };
    let mut item = json!({
        "id": call_id(name, number), "type": "function_call", "status": status,
        "call_id": call.id, "name": call.name, "arguments": arguments,
    });
    if !call.signature.is_empty() {
        item = merged(item, json!({ "signature": call.signature }));
    }
    item
}

fn call_id(name: &str, number: usize) -> String {
    format!("fc_{name}{number}")
}

/// As a text; one that is no JSON object stays as the model wrote it.
fn arguments(call: &ToolCall) -> String {
    let text = call.arguments.as_ref().and_then(|given| serde_json::to_string(given).ok());
    text.unwrap_or_else(|| call.invalid_arguments.clone())
}

fn usage(usage: Option<TokenUsage>) -> Value {
    let usage = usage.unwrap_or_default();
    json!({
        "input_tokens": usage.input_tokens,
        "input_tokens_details": { "cached_tokens": usage.cached_input_tokens },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
        "total_tokens": usage.input_tokens.saturating_add(usage.output_tokens),
    })
}

fn merged(mut one: Value, more: Value) -> Value {
    if let (Value::Object(one), Value::Object(more)) = (&mut one, more) {
        one.extend(more);
    }
    one
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;

    use super::*;

    fn reply() -> CompleteResponse {
        let call = ToolCall {
            id: "c1".into(),
            name: "look".into(),
            arguments: Some(JsonObject::wrap(json!({ "n": 1 }))),
            ..Default::default()
        };
        let message = ChatMessage {
            content: "one two".into(),
            reasoning: "hm".into(),
            reasoning_signature: "signed".into(),
            tool_calls: vec![call],
            ..Default::default()
        };
        CompleteResponse {
            message: Some(message),
            finish_reason: "tool_calls".into(),
            model: "m".into(),
            ..Default::default()
        }
    }

    fn read(written: &BytesMut) -> Vec<Value> {
        let text = String::from_utf8(written.to_vec()).unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    #[test]
    fn what_is_streamed_is_the_same_as_the_whole_reply() {
        let reply = reply();
        let message = reply.message.clone().unwrap();
        let mut events = Events::new("1".into(), 9, "m", json!({ "store": false }));
        let whole: Value = serde_json::from_slice(&events.whole(&reply, &message)).unwrap();
        let mut written = BytesMut::new();
        events.begin(&mut written);
        events.thought(&mut written, "h");
        events.thought(&mut written, "m");
        events.text(&mut written, "one ");
        events.text(&mut written, "two");
        events.signature(&mut written, "signed");
        events.calls(&mut written, &message.tool_calls);
        events.end(&mut written, &reply);
        let told = read(&written);
        let sequences: Vec<u64> =
            told.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
        assert!(sequences.iter().copied().eq(0..sequences.len() as u64));
        let kinds: Vec<&str> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!((kinds[0], *kinds.last().unwrap()), ("response.created", "response.completed"));
        assert_eq!(told.last().unwrap()["response"], whole);
        assert_eq!(whole["output"][0]["encrypted_content"], "signed");
        assert_eq!(whole["output"][2]["arguments"], "{\"n\":1}");
        let deltas = told.iter().filter(|event| event["type"] == "response.output_text.delta");
        let text: String = deltas.map(|event| event["delta"].as_str().unwrap()).collect();
        assert_eq!(text, "one two");
    }

    #[test]
    fn a_reply_that_says_nothing_has_an_empty_message_and_one_that_is_cut_says_so() {
        let mut events = Events::new("1".into(), 9, "m", json!({}));
        let reply = CompleteResponse { finish_reason: "length".into(), ..Default::default() };
        let mut written = BytesMut::new();
        events.begin(&mut written);
        events.calls(&mut written, &[]);
        events.end(&mut written, &reply);
        let told = read(&written);
        let response = &told.last().unwrap()["response"];
        assert_eq!(response["incomplete_details"]["reason"], "max_output_tokens");
        assert_eq!(response["output"][0]["content"][0]["text"], "");
    }
}
