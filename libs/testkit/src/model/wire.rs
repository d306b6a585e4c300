//! OpenAI's wire format: whole answers, server-sent chunks, errors and embeddings.

use std::io;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::Answer;

const ID: &str = "chatcmpl-scripted";
const FLUSH: Duration = Duration::from_millis(20);
const DIMENSIONS: u64 = 64;

pub(super) fn chat(answer: Answer, request: &Value) -> Response {
    if let Some((status, message)) = &answer.failure {
        return failure(*status, message, answer.retry_after);
    }
    let model = request.get("model").and_then(Value::as_str).unwrap_or("scripted").to_owned();
    let usage = usage(&answer, request);
    let (parts, content_type) = if request.get("stream").and_then(Value::as_bool).unwrap_or(false) {
        let wants_usage = request
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        (chunks(&answer, &model, wants_usage.then_some(usage)), "text/event-stream")
    } else {
        (vec![whole(&answer, &model, &usage).to_string()], "application/json")
    };
    let pause = answer.pause;
    let body = cut(parts, answer.cut_after).into_iter();
    let body = stream::iter(body).then(move |part| async move {
        // Before an error, what stands before it must have left: hyper drops what it has not yet flushed.
        let pause = if part.is_err() { pause.max(FLUSH) } else { pause };
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        part
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn failure(status: StatusCode, message: &str, retry_after: Option<u64>) -> Response {
    let kind =
        if status == StatusCode::TOO_MANY_REQUESTS { "rate_limit_error" } else { "server_error" };
    let error = json!({ "message": message, "type": kind, "param": null, "code": null });
    let mut response = (status, Json(json!({ "error": error }))).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// An error item makes the server drop the connection in the middle of the body.
fn cut(parts: Vec<String>, after: Option<usize>) -> Vec<io::Result<Bytes>> {
    let keep = after.unwrap_or(parts.len());
    let mut body: Vec<_> = parts.into_iter().take(keep).map(|part| Ok(Bytes::from(part))).collect();
    if after.is_some() {
        body.push(Err(io::Error::other("the script cuts the connection here")));
    }
    body
}

fn usage(answer: &Answer, request: &Value) -> Value {
    let words = |text: &str| text.split_whitespace().count() as u64;
    let asked = request.get("messages").map_or(0, |messages| words(&messages.to_string()));
    let said = words(&answer.text)
        + answer.tool_calls.iter().map(|(_, call)| words(&call.to_string())).sum::<u64>();
    let (input, output) = answer.usage.unwrap_or((asked, said));
    json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output })
}

fn finish_reason(answer: &Answer) -> &'static str {
    if answer.tool_calls.is_empty() { "stop" } else { "tool_calls" }
}

fn whole(answer: &Answer, model: &str, usage: &Value) -> Value {
    let calls: Vec<_> = answer.tool_calls.iter().enumerate().map(|(index, (name, arguments))| {
        json!({ "id": call_id(index), "type": "function", "function": { "name": name, "arguments": arguments.to_string() } })
    }).collect();
    let mut message = json!({ "role": "assistant", "content": answer.text });
    if let Some(fields) = message.as_object_mut().filter(|_| !calls.is_empty()) {
        fields.insert("tool_calls".to_owned(), Value::Array(calls));
    }
    let choice = json!({ "index": 0, "message": message, "finish_reason": finish_reason(answer) });
    json!({ "id": ID, "object": "chat.completion", "created": 1, "model": model, "choices": [choice], "usage": usage })
}

fn chunks(answer: &Answer, model: &str, usage: Option<Value>) -> Vec<String> {
    let mut deltas = vec![json!({ "role": "assistant", "content": "" })];
    deltas.extend(answer.text.split_inclusive(' ').map(|word| json!({ "content": word })));
    for (index, (name, arguments)) in answer.tool_calls.iter().enumerate() {
        let function = json!({ "name": name, "arguments": "" });
        deltas.push(json!({ "tool_calls": [{ "index": index, "id": call_id(index), "type": "function", "function": function }] }));
        deltas.extend(pieces(&arguments.to_string()).into_iter().map(|piece| {
            json!({ "tool_calls": [{ "index": index, "function": { "arguments": piece } }] })
        }));
    }
    let mut events: Vec<_> = deltas
        .into_iter()
        .map(|delta| json!([{ "index": 0, "delta": delta, "finish_reason": null }]))
        .collect();
    events.push(json!([{ "index": 0, "delta": {}, "finish_reason": finish_reason(answer) }]));
    let event = |choices: Value, usage: Value| json!({ "id": ID, "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, "usage": usage });
    let mut events: Vec<_> =
        events.into_iter().map(|choices| event(choices, Value::Null)).collect();
    events.extend(usage.map(|usage| event(json!([]), usage)));
    let mut parts: Vec<_> = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    parts.push("data: [DONE]\n\n".to_owned());
    parts
}

fn call_id(index: usize) -> String {
    format!("call_{index}")
}

/// Splits at every eighth character: what a client must put together again.
fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(8).map(|piece| piece.iter().collect()).collect()
}

/// One vector of length 1 for each input: words that two texts share make their vectors alike.
pub(super) fn embeddings(request: &Value) -> Response {
    let inputs: Vec<&str> = match request.get("input") {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        _ => {
            return failure(
                StatusCode::BAD_REQUEST,
                "input must be a text or a list of texts",
                None,
            );
        }
    };
    let dimensions = request.get("dimensions").and_then(Value::as_u64).unwrap_or(DIMENSIONS).max(1);
    let words: usize = inputs.iter().map(|input| input.split_whitespace().count()).sum();
    let data: Vec<_> = inputs.iter().enumerate().map(|(index, input)| {
        json!({ "object": "embedding", "index": index, "embedding": vector(input, dimensions) })
    }).collect();
    let usage = json!({ "prompt_tokens": words, "total_tokens": words });
    Json(json!({ "object": "list", "data": data, "model": request.get("model"), "usage": usage }))
        .into_response()
}

fn vector(text: &str, dimensions: u64) -> Vec<f64> {
    let mut counts = vec![0.0_f64; usize::try_from(dimensions).unwrap_or(1)];
    for word in text.split_whitespace() {
        let hash = word.to_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        if let Some(count) =
            usize::try_from(hash % dimensions).ok().and_then(|at| counts.get_mut(at))
        {
            *count += 1.0;
        }
    }
    let length = counts.iter().map(|count| count * count).sum::<f64>().sqrt();
    counts.iter().map(|count| if length > 0.0 { count / length } else { 0.0 }).collect()
}
