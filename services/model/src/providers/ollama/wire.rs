//! The lines of a streamed reply in Ollama's format.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::reply::{PartialCall, PartialReply};
use crate::domain::usage::Told;
use crate::providers::Vectors;
use crate::providers::counts::Counts;
use crate::providers::dialect::{Broken, Reader, Step, json, typed};
use crate::providers::numbers;
use crate::providers::refusal::{message_of, status_of};

#[derive(Deserialize)]
struct Line {
    model: Option<String>,
    message: Option<Message>,
    #[serde(default)]
    done: bool,
    done_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    #[serde(default)]
    tool_calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    id: Option<String>,
    function: Function,
}

#[derive(Deserialize)]
struct Function {
    name: String,
    arguments: Option<Value>,
}

/// Reads lines. They stand for themselves.
pub(super) struct Lines;

impl Reader for Lines {
    fn read(&mut self, data: &str, reply: &mut PartialReply) -> Result<Step, Broken> {
        let value = json(data)?;
        if let Some(error) = value.get("error") {
            return Err(Broken::Told { status: status_of(error), message: message_of(error) });
        }
        let usage = told(&value);
        let line: Line = typed(value, data)?;
        if let Some(model) = line.model.filter(|_| reply.model.is_empty()) {
            reply.model = model;
        }
        let text = match line.message {
            Some(message) => add(message, reply)?,
            None => String::new(),
        };
        if line.done {
            let reason = line.done_reason.as_deref();
            reply.finish_reason =
                Some(if reason == Some("length") { "length" } else { "stop" }.to_owned());
            reply.usage = usage;
        }
        Ok(Step { text, ended: line.done })
    }
}

fn add(message: Message, reply: &mut PartialReply) -> Result<String, Broken> {
    for call in message.tool_calls {
        let piece = PartialCall {
            id: call.id.unwrap_or_default(),
            name: call.function.name,
            arguments: call.function.arguments.as_ref().map(numbers::text).unwrap_or_default(),
            ..PartialCall::default()
        };
        reply.push_call(reply.calls(), &piece)?;
    }
    if let Some(thought) = message.thinking {
        reply.push_reasoning(&thought)?;
    }
    let text = message.content.unwrap_or_default();
    reply.push_text(&text)?;
    Ok(text)
}

/// A prompt that was cached is not counted by some versions: then the tokenizer counts.
fn told(line: &Value) -> Told {
    let mut counts = Counts::default();
    let told = Told {
        input: counts.number(line, &["prompt_eval_count"]),
        output: counts.number(line, &["eval_count"]),
        ..Told::default()
    };
    counts.finish(told)
}

#[derive(Deserialize)]
struct VectorList {
    embeddings: Vec<Vec<f32>>,
    model: Option<String>,
}

/// The vectors of an answer, in the order of their texts.
pub(super) fn vectors(answer: Value, model: &str) -> Result<Vectors, String> {
    let usage = told(&answer);
    let list: VectorList = serde_json::from_value(answer).map_err(|error| error.to_string())?;
    Ok(Vectors {
        vectors: list.embeddings,
        usage,
        model: list.model.unwrap_or_else(|| model.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_thoughts_and_calls_are_put_together() {
        let mut reply = PartialReply::default();
        let lines = [
            r#"{"model":"qwen3","message":{"role":"assistant","content":"","thinking":"hm"},"done":false}"#,
            r#"{"message":{"content":"Let me.","tool_calls":[{"function":{"name":"search","arguments":{"q":1}}}]},"done":false}"#,
            r#"{"message":{"content":""},"done":true,"done_reason":"stop","prompt_eval_count":9,"eval_count":4}"#,
        ];
        let steps: Vec<Step> =
            lines.iter().map(|line| Lines.read(line, &mut reply).unwrap()).collect();
        assert_eq!((steps[1].text.as_str(), steps[2].ended), ("Let me.", true));
        let reply = reply.finish("m");
        assert_eq!((reply.finish_reason.as_str(), reply.model.as_str()), ("tool_calls", "qwen3"));
        assert_eq!(reply.message.reasoning, "hm");
        let usage = reply.usage.known();
        assert_eq!((usage.input_tokens, usage.output_tokens), (9, 4));
        let mut reply = PartialReply::default();
        let line = r#"{"message":{"tool_calls":[{"function":{"name":"search","arguments":{"q":-Infinity}}}]},"done":true,"eval_count":1e400}"#;
        assert!(Lines.read(line, &mut reply).unwrap().ended);
        let reply = reply.finish("m");
        assert_eq!(reply.message.tool_calls[0].invalid_arguments, r#"{"q":-Infinity}"#);
        assert_eq!(reply.usage.odd.as_deref(), Some("eval_count is 1e400"));
        let error = Lines.read(r#"{"error":"no such model"}"#, &mut PartialReply::default());
        let expected = Broken::Told { status: 500, message: "no such model".into() };
        assert_eq!(error, Err(expected));
    }
}
