//! OpenAI's wire format: whole answers, server-sent chunks and errors.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::answer::{Answer, Breakage, Finish, pieces};
use super::stream::{Framing, HangUps, event, respond};

const ID: &str = "chatcmpl-scripted";

const FRAMING: Framing = Framing {
    content_type: "text/event-stream",
    frame: event,
    error: |message| error(StatusCode::INTERNAL_SERVER_ERROR, message).to_string(),
};

/// The dialect's error body.
pub(super) fn error(status: StatusCode, message: &str) -> Value {
    let kind =
        if status == StatusCode::TOO_MANY_REQUESTS { "rate_limit_error" } else { "server_error" };
    json!({ "error": { "message": message, "type": kind, "param": null, "code": null } })
}

pub(super) fn chat(answer: &Answer, request: &Value, hang_ups: HangUps) -> Response {
    let model = request.get("model").and_then(Value::as_str).unwrap_or("scripted").to_owned();
    let usage = usage(answer, request);
    let flag = |pointer: &str| request.pointer(pointer).and_then(Value::as_bool).unwrap_or(false);
    if flag("/stream") {
        let wants_usage = flag("/stream_options/include_usage");
        let events = chunks(answer, &model, wants_usage.then_some(usage));
        return respond(answer, events, &FRAMING, hang_ups);
    }
    if answer.breakage.is_some() {
        let cut = answer.clone().break_after(0, Breakage::Cut);
        return respond(&cut, Vec::new(), &FRAMING, hang_ups);
    }
    let whole = whole(answer, &model, &usage);
    let pause = answer.pause;
    let body = futures::stream::once(async move {
        tokio::time::sleep(pause).await;
        std::io::Result::Ok(whole.to_string())
    });
    let mut response = axum::body::Body::from_stream(body).into_response();
    let json = axum::http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(axum::http::header::CONTENT_TYPE, json);
    response
}

fn usage(answer: &Answer, request: &Value) -> Value {
    let (input, output) = answer.counts(request);
    json!({
        "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
        "prompt_tokens_details": { "cached_tokens": answer.cached },
        "completion_tokens_details": { "reasoning_tokens": answer.thought },
    })
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.finish {
        Some(Finish::Length) => "length",
        Some(Finish::Filtered) => "content_filter",
        _ if !answer.tool_calls.is_empty() => "tool_calls",
        _ => "stop",
    }
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
    let words = |text: &str| text.split_inclusive(' ').map(str::to_owned).collect::<Vec<_>>();
    deltas.extend(words(&answer.reasoning).iter().map(|word| json!({ "reasoning_content": word })));
    deltas.extend(words(&answer.text).iter().map(|word| json!({ "content": word })));
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
    let chunk = |choices: Value, usage: Value| json!({ "id": ID, "object": "chat.completion.chunk", "created": 1, "model": model, "choices": choices, "usage": usage });
    let mut events: Vec<_> =
        events.into_iter().map(|choices| chunk(choices, Value::Null)).collect();
    events.extend(usage.map(|usage| chunk(json!([]), usage)));
    let mut parts: Vec<_> = events.iter().map(|chunk| event(&chunk.to_string())).collect();
    parts.push(event("[DONE]"));
    parts
}

fn call_id(index: usize) -> String {
    format!("call_{index}")
}

/// `POST /v1/embeddings` with these vectors.
pub(super) fn embeddings(vectors: &[Vec<f64>], words: usize, request: &Value) -> Response {
    let data: Vec<_> = vectors
        .iter()
        .enumerate()
        .map(
            |(index, vector)| json!({ "object": "embedding", "index": index, "embedding": vector }),
        )
        .collect();
    let usage = json!({ "prompt_tokens": words, "total_tokens": words });
    Json(json!({ "object": "list", "data": data, "model": request.get("model"), "usage": usage }))
        .into_response()
}
