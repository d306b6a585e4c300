//! Ollama's wire format: the lines of a reply, errors and vectors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Finish};
use super::stream::{Framing, HangUps, respond};

const FRAMING: Framing = Framing {
    content_type: "application/x-ndjson",
    frame: |data| format!("{data}\n"),
    error: |message| json!({ "error": message }).to_string(),
};

/// The dialect's error body.
pub(super) fn error(_status: StatusCode, message: &str) -> Value {
    json!({ "error": message })
}

pub(super) fn chat(answer: &Answer, request: &Value, hang_ups: HangUps) -> Response {
    let model = request.get("model").and_then(Value::as_str).unwrap_or("scripted");
    let lines = lines(answer, model, answer.counts(request));
    let lines = lines.iter().map(|line| (FRAMING.frame)(&line.to_string())).collect();
    respond(answer, lines, &FRAMING, hang_ups)
}

fn lines(answer: &Answer, model: &str, (input, output): (u64, u64)) -> Vec<Value> {
    let line = |message: Value| json!({ "model": model, "created_at": "2026-01-01T00:00:00Z", "message": message, "done": false });
    let thoughts = answer.reasoning.split_inclusive(' ');
    let mut lines: Vec<_> = thoughts
        .map(|word| line(json!({ "role": "assistant", "content": "", "thinking": word })))
        .collect();
    let words = answer.text.split_inclusive(' ');
    lines.extend(words.map(|word| line(json!({ "role": "assistant", "content": word }))));
    lines.extend(answer.tool_calls.iter().map(|(name, arguments)| {
        let call = json!({ "function": { "name": name, "arguments": arguments } });
        line(json!({ "role": "assistant", "content": "", "tool_calls": [call] }))
    }));
    let reason = if answer.finish == Some(Finish::Length) { "length" } else { "stop" };
    lines.push(
        json!({ "model": model, "message": { "role": "assistant", "content": "" }, "done": true,
        "done_reason": reason, "prompt_eval_count": input, "eval_count": output }),
    );
    lines
}

/// `POST /api/embed` with these vectors.
pub(super) fn embeddings(vectors: &[Vec<f64>], words: usize, request: &Value) -> Response {
    let model = request.get("model");
    Json(json!({ "model": model, "embeddings": vectors, "prompt_eval_count": words }))
        .into_response()
}
