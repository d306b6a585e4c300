//! The chunks of a streamed reply in OpenAI's format.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::reply::{PartialCall, PartialReply, TooLarge};
use crate::domain::usage::Told;
use crate::providers::Vectors;
use crate::providers::counts::Counts;
use crate::providers::dialect::{Broken, Reader, Step, json, typed};
use crate::providers::refusal::{message_of, status_of};

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Value>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
struct Delta {
    content: Option<String>,
    refusal: Option<String>,
    /// DeepSeek, vLLM.
    reasoning_content: Option<String>,
    /// OpenRouter, Groq.
    reasoning: Option<String>,
    tool_calls: Option<Vec<CallPiece>>,
}

#[derive(Deserialize)]
struct CallPiece {
    index: Option<usize>,
    id: Option<String>,
    function: Option<FunctionPiece>,
}

#[derive(Default, Deserialize)]
struct FunctionPiece {
    name: Option<String>,
    arguments: Option<String>,
}

/// Reads chunks. They stand for themselves.
pub(super) struct Chunks;

impl Reader for Chunks {
    fn read(&mut self, data: &str, reply: &mut PartialReply) -> Result<Step, Broken> {
        if data.trim() == "[DONE]" {
            return Ok(Step::end());
        }
        let value = json(data)?;
        if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
            return Err(Broken::Told { status: status_of(error), message: message_of(error) });
        }
        let chunk: Chunk = typed(value, data)?;
        Ok(Step::text(chunk.add_to(reply)?))
    }
}

impl Chunk {
    /// Adds the chunk to the reply. Returns the text that is new.
    fn add_to(self, reply: &mut PartialReply) -> Result<String, TooLarge> {
        if let Some(usage) = self.usage {
            reply.usage = told(&usage);
        }
        if let Some(model) = self.model.filter(|_| reply.model.is_empty()) {
            reply.model = model;
        }
        let Some(choice) = self.choices.into_iter().next() else { return Ok(String::new()) };
        if choice.finish_reason.is_some() {
            reply.finish_reason = choice.finish_reason;
        }
        let delta = choice.delta.unwrap_or_default();
        for (at, piece) in delta.tool_calls.into_iter().flatten().enumerate() {
            let function = piece.function.unwrap_or_default();
            let partial = PartialCall {
                id: piece.id.unwrap_or_default(),
                name: function.name.unwrap_or_default(),
                arguments: function.arguments.unwrap_or_default(),
                ..PartialCall::default()
            };
            reply.push_call(piece.index.unwrap_or(at), &partial)?;
        }
        if let Some(thought) = delta.reasoning_content.or(delta.reasoning) {
            reply.push_reasoning(&thought)?;
        }
        // A refusal is what the model says, in place of a content.
        let text = delta.content.unwrap_or_default() + &delta.refusal.unwrap_or_default();
        reply.push_text(&text)?;
        Ok(text)
    }
}

fn told(usage: &Value) -> Told {
    let mut counts = Counts::default();
    let told = Told {
        input: counts.number(usage, &["prompt_tokens"]),
        output: counts.number(usage, &["completion_tokens"]),
        reasoning: counts.number(usage, &["completion_tokens_details", "reasoning_tokens"]),
        cached: counts.number(usage, &["prompt_tokens_details", "cached_tokens"]),
        ..Told::default()
    };
    counts.finish(told)
}

#[derive(Deserialize)]
struct VectorList {
    data: Vec<VectorItem>,
    usage: Option<Value>,
    model: Option<String>,
}

#[derive(Deserialize)]
struct VectorItem {
    index: usize,
    embedding: Vec<f32>,
}

/// The vectors of an answer, in the order of their texts.
pub(super) fn vectors(answer: Value, model: &str) -> Result<Vectors, String> {
    let mut list: VectorList = serde_json::from_value(answer).map_err(|error| error.to_string())?;
    list.data.sort_by_key(|item| item.index);
    if !list.data.iter().enumerate().all(|(place, item)| place == item.index) {
        return Err("an index is missing or stands twice".to_owned());
    }
    Ok(Vectors {
        vectors: list.data.into_iter().map(|item| item.embedding).collect(),
        usage: list.usage.as_ref().map(told).unwrap_or_default(),
        model: list.model.unwrap_or_else(|| model.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> Result<PartialReply, Broken> {
        let mut reply = PartialReply::default();
        for data in events {
            Chunks.read(data, &mut reply)?;
        }
        Ok(reply)
    }

    #[test]
    fn reasoning_and_its_tokens_are_told_apart() {
        let reply = read(&[
            r#"{"model":"r1","choices":[{"delta":{"reasoning_content":"hm "}}]}"#,
            r#"{"choices":[{"delta":{"reasoning":"so"}}]}"#,
            r#"{"choices":[{"delta":{"content":"7"},"finish_reason":"stop"}],"usage":null}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":6}}}"#,
        ]);
        let reply = reply.unwrap().finish("m");
        assert_eq!(
            (reply.message.content.as_str(), reply.message.reasoning.as_str()),
            ("7", "hm so")
        );
        assert_eq!((reply.usage.reasoning, reply.usage.cached), (Some(6), Some(4)));
    }

    #[test]
    fn errors_and_nonsense_in_a_stream_are_told() {
        let told = |data: &str| read(&[data]).map(|_| ()).unwrap_err();
        assert_eq!(
            told(r#"{"error":{"message":"x","type":"rate_limit_error"}}"#),
            Broken::Told { status: 429, message: "x".into() }
        );
        assert!(matches!(told("{"), Broken::Nonsense(_)));
        assert!(matches!(told(r#"{"choices":7}"#), Broken::Nonsense(_)));
        let Broken::Nonsense(text) = told(r#"{"choices":[{"delta":{"content":NaN}}]}"#) else {
            panic!("a text is no number")
        };
        assert!(text.contains("(expected value at line 1 column 33)"), "{text}");
        assert_eq!(Chunks.read(" [DONE]", &mut PartialReply::default()), Ok(Step::end()));
    }
}
