//! A reply, whole or in pieces.

use bytes::{BufMut, Bytes, BytesMut};
use muster_contracts::llm::v1::{ChatMessage, CompleteResponse, TokenUsage, ToolCall};
use serde::{Serialize, Serializer};

use super::{Failure, Writer};
use crate::problem::Problem;

/// The body of a whole reply.
#[derive(Serialize)]
struct ChatReply<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: Usage,
    system_fingerprint: Option<&'a str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Said<'a>,
    logprobs: Option<()>,
    finish_reason: &'a str,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: Option<&'a str>,
    refusal: Option<&'a str>,
    /// What OpenAI's format has no place for, under the name that most servers of reasoning models give it.
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_content: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reasoning_signature: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'a>>,
}

#[derive(Serialize)]
struct Called<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
    /// What the provider wants to have back with the call.
    #[serde(skip_serializing_if = "str::is_empty")]
    signature: &'a str,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: &'a str,
    #[serde(serialize_with = "as_text")]
    arguments: &'a ToolCall,
}

/// What was used, in OpenAI's words.
#[derive(Clone, Copy, Debug, Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_tokens: u32,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u32,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u32,
}

/// The usage of a reply.
fn usage(usage: Option<TokenUsage>) -> Usage {
    let usage = usage.unwrap_or_default();
    Usage {
        prompt_tokens: usage.input_tokens,
        completion_tokens: usage.output_tokens,
        total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
        prompt_tokens_details: PromptDetails { cached_tokens: usage.cached_input_tokens },
        completion_tokens_details: CompletionDetails { reasoning_tokens: usage.reasoning_tokens },
    }
}

impl<'a> ChatReply<'a> {
    fn new(
        id: &'a str,
        created: i64,
        response: &'a CompleteResponse,
        message: &'a ChatMessage,
    ) -> Self {
        let silent = message.content.is_empty() && !message.tool_calls.is_empty();
        Self {
            id,
            object: "chat.completion",
            created,
            model: &response.model,
            choices: [Choice {
                index: 0,
                message: Said {
                    role: "assistant",
                    content: (!silent).then_some(message.content.as_str()),
                    refusal: None,
                    reasoning_content: &message.reasoning,
                    reasoning_signature: &message.reasoning_signature,
                    tool_calls: calls(&message.tool_calls, false),
                },
                logprobs: None,
                finish_reason: &response.finish_reason,
            }],
            usage: usage(response.usage),
            system_fingerprint: None,
        }
    }
}

fn calls(calls: &[ToolCall], indexed: bool) -> Vec<Called<'_>> {
    let calls = calls.iter().enumerate();
    let called = calls.map(|(index, call)| {
        let function = CalledFunction { name: &call.name, arguments: call };
        let index = indexed.then_some(index);
        Called { index, id: &call.id, kind: "function", function, signature: &call.signature }
    });
    called.collect()
}

/// OpenAI has the arguments as a text; one that is no JSON object stays as the model wrote it.
fn as_text<S: Serializer>(call: &&ToolCall, serializer: S) -> Result<S::Ok, S::Error> {
    match &call.arguments {
        Some(arguments) => {
            let text = serde_json::to_string(arguments).map_err(serde::ser::Error::custom)?;
            serializer.serialize_str(&text)
        }
        None => serializer.serialize_str(&call.invalid_arguments),
    }
}

/// Writes the pieces of one streamed reply as server-sent events. What all of them share is written once.
pub(crate) struct Pieces {
    id: String,
    created: i64,
    head: Bytes,
    /// Every piece says that it is not the one with the usage, as OpenAI has it where the usage is asked for.
    with_usage: bool,
}

impl Pieces {
    pub(crate) fn new(id: String, created: i64, model: &str, with_usage: bool) -> Self {
        let mut head = BytesMut::with_capacity(160);
        head.put_slice(b"data: {\"id\":");
        json(&mut head, &id);
        head.put_slice(b",\"object\":\"chat.completion.chunk\",\"created\":");
        json(&mut head, &created);
        head.put_slice(b",\"model\":");
        json(&mut head, &model);
        head.put_slice(b",\"system_fingerprint\":null,\"choices\":[");
        Self { id, created, head: head.freeze(), with_usage }
    }

    fn said(&self, to: &mut BytesMut, field: &[u8], text: &str) {
        let delta = |to: &mut BytesMut| {
            to.put_slice(field);
            json(to, &text);
        };
        self.choice(to, delta, None);
    }

    fn choice(&self, to: &mut BytesMut, delta: impl FnOnce(&mut BytesMut), finish: Option<&str>) {
        to.put_slice(&self.head);
        to.put_slice(b"{\"index\":0,\"delta\":{");
        delta(to);
        to.put_slice(b"},\"logprobs\":null,\"finish_reason\":");
        json(to, &finish);
        to.put_slice(b"}]");
        if self.with_usage {
            to.put_slice(b",\"usage\":null");
        }
        to.put_slice(b"}\n\n");
    }
}

impl Writer for Pieces {
    fn whole(&self, response: &CompleteResponse, message: &ChatMessage) -> Vec<u8> {
        let reply = ChatReply::new(&self.id, self.created, response, message);
        serde_json::to_vec(&reply).unwrap_or_default()
    }

    /// Who speaks.
    fn begin(&mut self, to: &mut BytesMut) {
        self.choice(to, |to| to.put_slice(b"\"role\":\"assistant\",\"content\":\"\""), None);
    }

    fn thought(&mut self, to: &mut BytesMut, thought: &str) {
        self.said(to, b"\"reasoning_content\":", thought);
    }

    fn text(&mut self, to: &mut BytesMut, text: &str) {
        self.said(to, b"\"content\":", text);
    }

    fn signature(&mut self, to: &mut BytesMut, signature: &str) {
        self.said(to, b"\"reasoning_signature\":", signature);
    }

    /// Each call in a piece of its own, whole.
    fn calls(&mut self, to: &mut BytesMut, called: &[ToolCall]) {
        for call in calls(called, true) {
            let delta = |to: &mut BytesMut| {
                to.put_slice(b"\"tool_calls\":");
                json(to, &[&call]);
            };
            self.choice(to, delta, None);
        }
    }

    /// Why it ended, then the usage where it was asked for, then the mark of the end.
    fn end(&mut self, to: &mut BytesMut, response: &CompleteResponse) {
        self.choice(to, |_| {}, Some(&response.finish_reason));
        if self.with_usage {
            to.put_slice(&self.head);
            to.put_slice(b"],\"usage\":");
            json(to, &usage(response.usage));
            to.put_slice(b"}\n\n");
        }
        to.put_slice(b"data: [DONE]\n\n");
    }

    fn fail(&mut self, to: &mut BytesMut, problem: &Problem) {
        to.put_slice(b"data: ");
        json(to, &Failure::of(problem));
        to.put_slice(b"\n\n");
    }
}

/// Texts and numbers are always JSON.
fn json(to: &mut BytesMut, value: &impl Serialize) {
    let written = serde_json::to_writer(to.writer(), value);
    debug_assert!(written.is_ok(), "{written:?}");
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use serde_json::{Value, json};

    use super::*;

    fn response() -> CompleteResponse {
        let arguments = Some(JsonObject::wrap(json!({ "n": 1 })));
        let calls = vec![
            ToolCall { id: "c1".into(), name: "search".into(), arguments, ..Default::default() },
            ToolCall {
                id: "c2".into(),
                name: "echo".into(),
                invalid_arguments: "{".into(),
                ..Default::default()
            },
        ];
        let message =
            ChatMessage { role: "assistant".into(), tool_calls: calls, ..Default::default() };
        let usage = TokenUsage {
            input_tokens: 7,
            output_tokens: 5,
            reasoning_tokens: 2,
            ..Default::default()
        };
        CompleteResponse {
            message: Some(message),
            finish_reason: "tool_calls".into(),
            usage: Some(usage),
            model: "m".into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_whole_reply_is_written_as_openai_does() {
        let response = response();
        let message = response.message.clone().unwrap();
        let reply = ChatReply::new("chatcmpl-1", 9, &response, &message);
        let said = serde_json::to_value(&reply).unwrap();
        assert_eq!(
            said["choices"][0]["message"],
            json!({ "role": "assistant", "content": null, "refusal": null, "tool_calls": [
                { "id": "c1", "type": "function", "function": { "name": "search", "arguments": "{\"n\":1}" } },
                { "id": "c2", "type": "function", "function": { "name": "echo", "arguments": "{" } },
            ] })
        );
        assert_eq!(said["usage"]["total_tokens"], 12);
        assert_eq!(said["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
    }

    #[test]
    fn every_piece_is_an_event_and_the_last_is_the_mark_of_the_end() {
        let mut pieces = Pieces::new("chatcmpl-1".to_owned(), 9, "m\"x", true);
        let (mut written, response) = (BytesMut::new(), response());
        pieces.begin(&mut written);
        pieces.text(&mut written, "a\n\"b\"");
        pieces.calls(&mut written, &response.message.clone().unwrap().tool_calls);
        pieces.end(&mut written, &response);
        let text = String::from_utf8(written.to_vec()).unwrap();
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        assert_eq!(events.last(), Some(&"data: [DONE]"));
        let read =
            |event: &&str| serde_json::from_str::<Value>(event.strip_prefix("data: ").unwrap());
        let read: Vec<Value> =
            events[..events.len() - 1].iter().map(|event| read(event).unwrap()).collect();
        assert!(read.iter().all(|piece| piece["model"] == "m\"x" && piece["object"] == "chat.completion.chunk"));
        let delta = |at: usize| &read[at]["choices"][0]["delta"];
        assert_eq!(delta(0), &json!({ "role": "assistant", "content": "" }));
        assert_eq!(delta(1), &json!({ "content": "a\n\"b\"" }));
        assert_eq!(delta(3)["tool_calls"][0]["index"], 1);
        assert_eq!(read[4]["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!((&read[4]["usage"], &read[5]["choices"]), (&Value::Null, &json!([])));
        assert_eq!(read[5]["usage"]["prompt_tokens"], 7);
    }
}
