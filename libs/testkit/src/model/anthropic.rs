//! Anthropic's wire format: the events of a message, and errors.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answer::{Answer, Finish, pieces};
use super::stream::{Framing, HangUps, respond};

const FRAMING: Framing = Framing {
    content_type: "text/event-stream; charset=utf-8",
    frame: |data| format!("event: message\ndata: {data}\n\n"),
    error: |message| error_of("overloaded_error", message).to_string(),
};

/// The dialect's error body.
pub(super) fn error(status: StatusCode, message: &str) -> Value {
    let kind = match status.as_u16() {
        401 => "authentication_error",
        429 => "rate_limit_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    };
    error_of(kind, message)
}

fn error_of(kind: &str, message: &str) -> Value {
    json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": "req_scripted" })
}

pub(super) fn messages(answer: &Answer, request: &Value, hang_ups: HangUps) -> Response {
    let model = request.get("model").and_then(Value::as_str).unwrap_or("scripted");
    let events = events(answer, model, answer.counts(request));
    respond(answer, events.iter().map(named).collect(), &FRAMING, hang_ups)
}

fn named(event: &Value) -> String {
    let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
    format!("event: {name}\ndata: {event}\n\n")
}

fn events(answer: &Answer, model: &str, (input, output): (u64, u64)) -> Vec<Value> {
    let usage = json!({ "input_tokens": input - answer.cached.min(input), "output_tokens": 1,
        "cache_creation_input_tokens": 0, "cache_read_input_tokens": answer.cached });
    let start = json!({ "id": "msg_scripted", "type": "message", "role": "assistant", "content": [],
        "model": model, "stop_reason": null, "stop_sequence": null, "usage": usage });
    let mut events = vec![json!({ "type": "message_start", "message": start })];
    events.push(json!({ "type": "ping" }));
    let mut blocks = 0;
    let mut block = |start: Value, deltas: Vec<Value>| {
        events.push(
            json!({ "type": "content_block_start", "index": blocks, "content_block": start }),
        );
        events.extend(deltas.into_iter().map(
            |delta| json!({ "type": "content_block_delta", "index": blocks, "delta": delta }),
        ));
        events.push(json!({ "type": "content_block_stop", "index": blocks }));
        blocks += 1;
    };
    if !answer.reasoning.is_empty() {
        let thoughts = answer.reasoning.split_inclusive(' ');
        let mut deltas: Vec<_> =
            thoughts.map(|word| json!({ "type": "thinking_delta", "thinking": word })).collect();
        deltas.push(json!({ "type": "signature_delta", "signature": "c2ln" }));
        block(json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas);
    }
    if !answer.text.is_empty() {
        let words = answer.text.split_inclusive(' ');
        let deltas = words.map(|word| json!({ "type": "text_delta", "text": word })).collect();
        block(json!({ "type": "text", "text": "" }), deltas);
    }
    for (index, (name, arguments)) in answer.tool_calls.iter().enumerate() {
        let start = json!({ "type": "tool_use", "id": format!("toolu_{index}"), "name": name, "input": {} });
        let deltas = pieces(&arguments.to_string())
            .into_iter()
            .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
            .collect();
        block(start, deltas);
    }
    let delta = json!({ "stop_reason": stop_reason(answer), "stop_sequence": null });
    events.push(
        json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": output } }),
    );
    events.push(json!({ "type": "message_stop" }));
    events
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Some(Finish::Length) => "max_tokens",
        Some(Finish::Filtered) => "refusal",
        _ if !answer.tool_calls.is_empty() => "tool_use",
        _ => "end_turn",
    }
}
