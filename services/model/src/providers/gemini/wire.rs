//! The pieces of a streamed reply in Google's format.

use serde::Deserialize;
use serde_json::Value;

use super::SIGNED;
use crate::domain::reply::{PartialCall, PartialReply};
use crate::domain::usage::Told;
use crate::providers::Vectors;
use crate::providers::counts::Counts;
use crate::providers::dialect::{Broken, Reader, Step, json, typed};
use crate::providers::numbers;
use crate::providers::refusal::{message_of, status_of};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Chunk {
    #[serde(default)]
    candidates: Vec<Candidate>,
    prompt_feedback: Option<Feedback>,
    usage_metadata: Option<Value>,
    model_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate {
    content: Option<Content>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Content {
    #[serde(default)]
    parts: Vec<Part>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    text: Option<String>,
    #[serde(default)]
    thought: bool,
    function_call: Option<Function>,
    thought_signature: Option<String>,
}

#[derive(Deserialize)]
struct Function {
    id: Option<String>,
    name: String,
    args: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Feedback {
    block_reason: Option<String>,
}

/// Reads pieces. They stand for themselves; the stream ends with its connection.
pub(super) struct Candidates;

impl Reader for Candidates {
    fn read(&mut self, data: &str, reply: &mut PartialReply) -> Result<Step, Broken> {
        let value = json(data)?;
        if let Some(error) = value.get("error") {
            return Err(Broken::Told { status: status_of(error), message: message_of(error) });
        }
        let chunk: Chunk = typed(value, data)?;
        if let Some(model) = chunk.model_version.filter(|_| reply.model.is_empty()) {
            reply.model = model;
        }
        if chunk.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            reply.finish_reason = Some("content_filter".to_owned());
        }
        let mut text = String::new();
        if let Some(candidate) = chunk.candidates.into_iter().next() {
            for part in candidate.content.into_iter().flat_map(|content| content.parts) {
                add(part, reply, &mut text)?;
            }
            if let Some(reason) = candidate.finish_reason {
                reply.finish_reason = Some(finish(&reason)?.to_owned());
            }
        }
        if let Some(usage) = chunk.usage_metadata {
            reply.usage = told(&usage, reply.has_said());
        }
        Ok(Step::text(text))
    }
}

fn add(part: Part, reply: &mut PartialReply, text: &mut String) -> Result<(), Broken> {
    let signature = part.thought_signature.map(|signature| format!("{SIGNED}{signature}"));
    if let Some(call) = part.function_call {
        let piece = PartialCall {
            id: call.id.unwrap_or_default(),
            name: call.name,
            arguments: call.args.as_ref().map(numbers::text).unwrap_or_default(),
            signature: signature.unwrap_or_default(),
        };
        reply.push_call(reply.calls(), &piece)?;
    } else if let Some(piece) = part.text {
        if part.thought {
            reply.push_reasoning(&piece)?;
        } else {
            reply.push_text(&piece)?;
            text.push_str(&piece);
        }
    }
    Ok(())
}

fn finish(reason: &str) -> Result<&'static str, Broken> {
    Ok(match reason {
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        // The model broke off what it was about to say: another try may be better.
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "OTHER"
        | "FINISH_REASON_UNSPECIFIED" => {
            let message = format!("the model ended its reply with {reason}");
            return Err(Broken::Told { status: 500, message });
        }
        _ => "content_filter",
    })
}

/// Google leaves out what is 0, and the answer is 0 only where nothing was said.
fn told(usage: &Value, has_said: bool) -> Told {
    let mut counts = Counts::default();
    let answered = counts.sum(usage, &["candidatesTokenCount", "thoughtsTokenCount"]);
    let thought = counts.number(usage, &["thoughtsTokenCount"]);
    let is_silent = !has_said && usage.get("candidatesTokenCount").is_none() && !counts.are_odd();
    let told = Told {
        output: if is_silent { Some(thought.unwrap_or_default()) } else { answered },
        input: counts.sum(usage, &["promptTokenCount", "toolUsePromptTokenCount"]),
        reasoning: thought,
        cached: counts.number(usage, &["cachedContentTokenCount"]),
        ..Told::default()
    };
    counts.finish(told)
}

#[derive(Deserialize)]
struct VectorList {
    embeddings: Vec<VectorItem>,
}

#[derive(Deserialize)]
struct VectorItem {
    values: Vec<f32>,
}

/// The vectors of an answer, in the order of their texts.
pub(super) fn vectors(answer: Value, model: &str) -> Result<Vectors, String> {
    let list: VectorList = serde_json::from_value(answer).map_err(|error| error.to_string())?;
    let vectors = list.embeddings.into_iter().map(|item| item.values).collect();
    Ok(Vectors { vectors, usage: Told::default(), model: model.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> Result<PartialReply, Broken> {
        let mut reply = PartialReply::default();
        for data in events {
            Candidates.read(data, &mut reply)?;
        }
        Ok(reply)
    }

    #[test]
    fn text_thoughts_and_calls_are_put_together() {
        let reply = read(&[
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true},{"text":"Let "}]}}],"modelVersion":"gemini-x"}"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"me."},{"functionCall":{"name":"search","args":{"q":1}},"thoughtSignature":"sig"},{"functionCall":{"name":"stats"}}]}}]}"#,
            r#"{"candidates":[{"content":{},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":3,"thoughtsTokenCount":4,"cachedContentTokenCount":2}}"#,
        ]);
        let reply = reply.unwrap().finish("m");
        assert_eq!(
            (reply.finish_reason.as_str(), reply.model.as_str()),
            ("tool_calls", "gemini-x")
        );
        let usage = reply.usage.known();
        let counts = (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens);
        assert_eq!((counts, usage.cached_input_tokens), ((9, 7, 4), 2));
        let message = reply.message;
        assert_eq!((message.content.as_str(), message.reasoning.as_str()), ("Let me.", "hm"));
        let calls = message.tool_calls;
        assert_eq!((calls[0].signature.as_str(), calls[1].id.as_str()), ("gemini:sig", "call_2"));
    }

    #[test]
    fn a_count_that_is_left_out_is_none_only_where_nothing_was_said() {
        let told = |parts: &str, usage: &str| {
            let chunk = format!(
                r#"{{"candidates":[{{"content":{{"parts":[{parts}]}},"finishReason":"STOP"}}],"usageMetadata":{usage}}}"#
            );
            read(&[&chunk]).unwrap().usage
        };
        let thought = r#"{"text":"hm","thought":true}"#;
        let usage = r#"{"promptTokenCount":9,"thoughtsTokenCount":4}"#;
        assert_eq!(told(thought, usage).output, Some(4));
        assert_eq!(told(r#"{"text":"hi"}"#, usage).output, None);
        assert_eq!(told(thought, r#"{"thoughtsTokenCount":"x"}"#).output, None);
        let sum = r#"{"candidatesTokenCount":3,"thoughtsTokenCount":-4}"#;
        let found = told(r#"{"text":"hi"}"#, sum);
        assert_eq!((found.output, found.odd.as_deref()), (None, Some("thoughtsTokenCount is -4")));
    }

    #[test]
    fn arguments_with_a_number_that_nobody_reads_are_kept_as_they_stood() {
        let chunk = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"search","args":{"q":1e400}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":NaN}}"#;
        let reply = read(&[chunk]).unwrap().finish("m");
        let call = &reply.message.tool_calls[0];
        assert_eq!((&call.arguments, call.invalid_arguments.as_str()), (&None, r#"{"q":1e400}"#));
        assert_eq!(reply.usage.odd.as_deref(), Some("promptTokenCount is NaN"));
    }

    #[test]
    fn blocked_and_broken_replies_are_told_apart() {
        let blocked = read(&[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#]).unwrap();
        assert_eq!(blocked.finish_reason.as_deref(), Some("content_filter"));
        let told = |reason: &str| {
            read(&[&format!(r#"{{"candidates":[{{"finishReason":"{reason}"}}]}}"#)])
                .map(|reply| reply.finish_reason.unwrap_or_default())
        };
        assert_eq!(told("MAX_TOKENS").unwrap(), "length");
        assert_eq!(told("SAFETY").unwrap(), "content_filter");
        assert!(matches!(told("MALFORMED_FUNCTION_CALL"), Err(Broken::Told { status: 500, .. })));
        let error = read(&[r#"{"error":{"code":503,"message":"busy"}}"#]).map(|_| ()).unwrap_err();
        assert_eq!(error, Broken::Told { status: 503, message: "busy".into() });
    }
}
