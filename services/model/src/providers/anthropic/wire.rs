//! The events of a streamed reply in Anthropic's format.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::SIGNED;
use crate::domain::reply::{PartialCall, PartialReply};
use crate::domain::usage::Told;
use crate::providers::counts::Counts;
use crate::providers::dialect::{Broken, Reader, Step, json as parsed, typed};
use crate::providers::refusal::{message_of, status_of};

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event {
    MessageStart {
        message: Start,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta,
    },
    MessageDelta {
        delta: End,
        usage: Option<Value>,
    },
    MessageStop,
    Error {
        error: Value,
    },
    /// A sign of life, the end of a block, and what comes with later versions.
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    model: String,
    usage: Option<Value>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        #[serde(default)]
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
    },
    Thinking {
        #[serde(default)]
        thinking: String,
    },
    RedactedThinking {
        data: String,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
#[serde(tag = "type")]
enum Delta {
    #[serde(rename = "text_delta")]
    Text { text: String },
    #[serde(rename = "input_json_delta")]
    Input { partial_json: String },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: String },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct End {
    stop_reason: Option<String>,
}

/// Reads events. It knows which call each block of the reply is.
#[derive(Default)]
pub(super) struct Blocks {
    calls: HashMap<usize, usize>,
    /// What was thought, as it has to be sent back.
    thoughts: Vec<(usize, Value)>,
}

impl Reader for Blocks {
    fn read(&mut self, data: &str, reply: &mut PartialReply) -> Result<Step, Broken> {
        match typed(parsed(data)?, data)? {
            Event::MessageStart { message } => {
                reply.model = message.model;
                count(reply, &message.usage.unwrap_or_default());
            }
            Event::ContentBlockStart { index, content_block } => {
                return self.begin(index, content_block, reply).map(Step::text);
            }
            Event::ContentBlockDelta { index, delta } => {
                return self.grow(index, delta, reply).map(Step::text);
            }
            Event::MessageDelta { delta, usage } => {
                count(reply, &usage.unwrap_or_default());
                if let Some(reason) = delta.stop_reason {
                    reply.finish_reason = Some(finish(&reason).to_owned());
                }
            }
            Event::MessageStop => {
                self.sign(reply)?;
                return Ok(Step::end());
            }
            Event::Error { error } => {
                return Err(Broken::Told {
                    status: status_of(&error),
                    message: message_of(&error),
                });
            }
            Event::Other => {}
        }
        Ok(Step::default())
    }
}

impl Blocks {
    fn begin(
        &mut self,
        index: usize,
        block: Block,
        reply: &mut PartialReply,
    ) -> Result<String, Broken> {
        match block {
            Block::Text { text } => {
                reply.push_text(&text)?;
                return Ok(text);
            }
            Block::ToolUse { id, name } => {
                let call = reply.calls();
                self.calls.insert(index, call);
                reply.push_call(call, &PartialCall { id, name, ..PartialCall::default() })?;
            }
            Block::Thinking { thinking } => {
                reply.push_reasoning(&thinking)?;
                let block = json!({ "type": "thinking", "thinking": thinking, "signature": "" });
                self.thoughts.push((index, block));
            }
            Block::RedactedThinking { data } => {
                reply.push_hidden(data.len())?;
                let block = json!({ "type": "redacted_thinking", "data": data });
                self.thoughts.push((index, block));
            }
            Block::Other => {}
        }
        Ok(String::new())
    }

    fn grow(
        &mut self,
        index: usize,
        delta: Delta,
        reply: &mut PartialReply,
    ) -> Result<String, Broken> {
        match delta {
            Delta::Text { text } => {
                reply.push_text(&text)?;
                return Ok(text);
            }
            Delta::Input { partial_json } => {
                let call = self.calls.get(&index).copied().ok_or_else(|| {
                    Broken::Nonsense(format!("arguments for block {index}, which is no tool call"))
                })?;
                let piece = PartialCall { arguments: partial_json, ..PartialCall::default() };
                reply.push_call(call, &piece)?;
            }
            Delta::Thinking { thinking } => {
                reply.push_reasoning(&thinking)?;
                self.add(index, "thinking", &thinking);
            }
            Delta::Signature { signature } => {
                // Where the thought itself is not told, it is sealed in its signature.
                match reply.reasoning().is_empty() {
                    true => reply.push_hidden(signature.len())?,
                    false => reply.grow(signature.len())?,
                }
                self.add(index, "signature", &signature);
            }
            Delta::Other => {}
        }
        Ok(String::new())
    }

    fn add(&mut self, index: usize, field: &str, text: &str) {
        let block = self.thoughts.iter_mut().find(|(at, _)| *at == index);
        if let Some(Value::String(value)) = block.and_then(|(_, block)| block.get_mut(field)) {
            value.push_str(text);
        }
    }

    /// Keeps what was thought for the next turn, which Anthropic wants to have back unchanged.
    fn sign(&mut self, reply: &mut PartialReply) -> Result<(), Broken> {
        let thoughts: Vec<Value> =
            std::mem::take(&mut self.thoughts).into_iter().map(|(_, block)| block).collect();
        if !thoughts.is_empty() {
            reply.reasoning_signature = format!("{SIGNED}{}", Value::Array(thoughts));
        }
        Ok(())
    }
}

/// The beginning tells what came in, the end what went out. A number of the end stands in the place of one of the beginning.
fn count(reply: &mut PartialReply, usage: &Value) {
    let mut counts = Counts::default();
    let known = std::mem::take(&mut reply.usage);
    // Anthropic counts what its cache knew beside the others.
    let fields = ["input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
    let input = counts.sum(usage, &fields);
    let cached = input.and_then(|_| counts.number(usage, &["cache_read_input_tokens"]));
    let thought = counts.number(usage, &["output_tokens_details", "thinking_tokens"]);
    let told = Told {
        input: input.or(known.input),
        cached: if input.is_some() { cached } else { known.cached },
        // That of the beginning is no count of the reply.
        output: counts.number(usage, &["output_tokens"]),
        reasoning: thought.or(known.reasoning),
        ..Told::default()
    };
    let told = counts.finish(told);
    reply.usage = Told { odd: known.odd.or(told.odd), ..told };
}

fn finish(reason: &str) -> &'static str {
    match reason {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[Value]) -> Result<PartialReply, Broken> {
        let (mut blocks, mut reply) = (Blocks::default(), PartialReply::default());
        for event in events {
            blocks.read(&event.to_string(), &mut reply)?;
        }
        Ok(reply)
    }

    #[test]
    fn text_thoughts_and_calls_are_put_together() {
        let delta = |index: usize, delta: Value| json!({ "type": "content_block_delta", "index": index, "delta": delta });
        let begin = |index: usize, block: Value| json!({ "type": "content_block_start", "index": index, "content_block": block });
        let usage = json!({ "input_tokens": 10, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 1, "output_tokens": 1 });
        let reply = read(&[
            json!({ "type": "message_start", "message": { "model": "claude-x", "usage": usage } }),
            begin(0, json!({ "type": "thinking", "thinking": "", "signature": "" })),
            json!({ "type": "ping" }),
            delta(0, json!({ "type": "thinking_delta", "thinking": "hm" })),
            delta(0, json!({ "type": "signature_delta", "signature": "sig" })),
            json!({ "type": "content_block_stop", "index": 0 }),
            begin(1, json!({ "type": "text", "text": "" })),
            delta(1, json!({ "type": "text_delta", "text": "Let me see." })),
            begin(2, json!({ "type": "tool_use", "id": "t1", "name": "search", "input": {} })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "{\"q\":" })),
            delta(2, json!({ "type": "input_json_delta", "partial_json": "1}" })),
            begin(3, json!({ "type": "tool_use", "id": "t2", "name": "stats", "input": {} })),
            json!({ "type": "message_delta", "delta": { "stop_reason": "tool_use" }, "usage": { "output_tokens": 42 } }),
            json!({ "type": "message_stop" }),
        ]);
        let reply = reply.unwrap().finish("m");
        assert_eq!(
            (reply.finish_reason.as_str(), reply.model.as_str()),
            ("tool_calls", "claude-x")
        );
        let usage = reply.usage.known();
        assert_eq!(
            (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens),
            (16, 5, 42)
        );
        let message = reply.message;
        assert_eq!((message.content.as_str(), message.reasoning.as_str()), ("Let me see.", "hm"));
        assert_eq!(
            message.reasoning_signature,
            r#"anthropic:[{"signature":"sig","thinking":"hm","type":"thinking"}]"#
        );
        let ids: Vec<_> = message.tool_calls.iter().map(|call| call.id.as_str()).collect();
        assert_eq!(ids, ["t1", "t2"]);
    }

    #[test]
    fn the_end_tells_what_went_out_and_only_what_can_be_read_counts() {
        let told = |start: Value, end: Value| {
            let reply = read(&[
                json!({ "type": "message_start", "message": { "usage": start } }),
                json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": end }),
            ]);
            let usage = reply.unwrap().usage;
            (usage.input, usage.cached, usage.output, usage.odd.is_some())
        };
        let start = json!({ "input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1 });
        let end = json!({ "output_tokens": 42 });
        assert_eq!(told(start.clone(), end.clone()), (Some(15), Some(5), Some(42), false));
        assert_eq!(told(start.clone(), Value::Null), (Some(15), Some(5), None, false));
        assert_eq!(told(start.clone(), json!([])), (Some(15), Some(5), None, true));
        assert_eq!(told(start, json!({ "output_tokens": -1 })), (Some(15), Some(5), None, true));
        let cache = json!({ "input_tokens": 10, "cache_read_input_tokens": "many" });
        assert_eq!(told(cache, end.clone()), (None, None, Some(42), true));
        let later = json!({ "input_tokens": 12, "output_tokens": 42 });
        assert_eq!(told(json!("?"), later), (Some(12), None, Some(42), true));
    }

    #[test]
    fn an_error_in_the_stream_is_told_with_its_kind() {
        let error = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } });
        let expected = Broken::Told { status: 529, message: "Overloaded".into() };
        assert_eq!(read(&[error]).map(|_| ()).unwrap_err(), expected);
        let stray = json!({ "type": "content_block_delta", "index": 7, "delta": { "type": "input_json_delta", "partial_json": "1" } });
        assert!(matches!(read(&[stray]), Err(Broken::Nonsense(_))));
        assert_eq!(
            ["end_turn", "max_tokens", "refusal"].map(finish),
            ["stop", "length", "content_filter"]
        );
    }
}
