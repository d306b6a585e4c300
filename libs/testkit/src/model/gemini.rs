//! Google's wire format: the pieces of a `generateContent` stream, errors and vectors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Finish};
use super::stream::{Framing, HangUps, respond};

const FRAMING: Framing = Framing {
    content_type: "text/event-stream",
    frame: |data| format!("data: {data}\r\n\r\n"),
    error: |message| error(StatusCode::SERVICE_UNAVAILABLE, message).to_string(),
};

/// The dialect's error body.
pub(super) fn error(status: StatusCode, message: &str) -> Value {
    let (code, status) = (status.as_u16(), status.canonical_reason().unwrap_or("UNKNOWN"));
    json!({ "error": { "code": code, "message": message, "status": status.to_uppercase() } })
}

pub(super) fn generate(
    answer: &Answer,
    model: &str,
    request: &Value,
    hang_ups: HangUps,
) -> Response {
    let events = events(answer, model, answer.counts(request));
    let events = events.iter().map(|event| (FRAMING.frame)(&event.to_string())).collect();
    respond(answer, events, &FRAMING, hang_ups)
}

fn events(answer: &Answer, model: &str, (input, output): (u64, u64)) -> Vec<Value> {
    let piece = |part: Value| {
        let content = json!({ "role": "model", "parts": [part] });
        json!({ "candidates": [{ "content": content, "index": 0 }], "modelVersion": model })
    };
    let thoughts = answer.reasoning.split_inclusive(' ');
    let mut events: Vec<_> =
        thoughts.map(|word| piece(json!({ "text": word, "thought": true }))).collect();
    events.extend(answer.text.split_inclusive(' ').map(|word| piece(json!({ "text": word }))));
    events.extend(answer.tool_calls.iter().enumerate().map(|(index, (name, arguments))| {
        let mut part = json!({ "functionCall": { "name": name, "args": arguments } });
        if let Some(part) = part.as_object_mut().filter(|_| index == 0) {
            part.insert("thoughtSignature".to_owned(), json!("c2ln"));
        }
        piece(part)
    }));
    let usage = json!({ "promptTokenCount": input, "candidatesTokenCount": output - answer.thought.min(output),
        "thoughtsTokenCount": answer.thought, "cachedContentTokenCount": answer.cached, "totalTokenCount": input + output });
    let last = json!({ "content": { "role": "model", "parts": [{ "text": "" }] }, "index": 0, "finishReason": finish_reason(answer) });
    events.push(json!({ "candidates": [last], "usageMetadata": usage, "modelVersion": model }));
    events
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Some(Finish::Length) => "MAX_TOKENS",
        Some(Finish::Filtered) => "SAFETY",
        _ => "STOP",
    }
}

/// `:batchEmbedContents` with these vectors.
pub(super) fn embeddings(vectors: &[Vec<f64>]) -> Response {
    let values: Vec<_> = vectors.iter().map(|values| json!({ "values": values })).collect();
    Json(json!({ "embeddings": values })).into_response()
}
