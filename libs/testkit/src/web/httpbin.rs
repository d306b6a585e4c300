//! What httpbin offers.

use std::time::Duration;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, LOCATION, WWW_AUTHENTICATE};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use super::{Shared, WebRequest, digest, not_found};

/// `before`: how many requests this path had before.
pub(super) async fn answer(
    shared: &Shared,
    request: &WebRequest,
    segments: &[&str],
    before: usize,
) -> Response {
    match segments {
        ["get" | "post" | "put" | "patch" | "delete"] | ["anything", ..] => {
            method_allowed(request, segments)
                .unwrap_or_else(|| Json(echo(shared, request)).into_response())
        }
        ["headers"] => Json(json!({ "headers": request.headers })).into_response(),
        ["status", code] => {
            match code.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()) {
                Some(status) => status.into_response(),
                None => StatusCode::BAD_REQUEST.into_response(),
            }
        }
        ["basic-auth", user, password] => basic(request, user, password),
        ["bearer"] => bearer(request),
        ["digest-auth", qop, user, password] => digest::answer(request, qop, (user, password), ""),
        ["digest-auth", qop, user, password, algorithm] => {
            digest::answer(request, qop, (user, password), algorithm)
        }
        ["redirect", count] => redirect(shared, count),
        ["redirect-to"] => redirect_to(request),
        ["delay", seconds] => {
            let seconds: f64 = seconds.parse().unwrap_or_default();
            tokio::time::sleep(Duration::from_secs_f64(seconds.clamp(0.0, 600.0))).await;
            Json(echo(shared, request)).into_response()
        }
        ["flaky", count] if before < count.parse().unwrap_or(0) => {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        ["flaky", _] => Json(echo(shared, request)).into_response(),
        other => fixed(request, other),
    }
}

/// Answers that follow from the path alone, or from the body.
fn fixed(request: &WebRequest, segments: &[&str]) -> Response {
    match segments {
        ["echo"] => {
            let kind = request.header("content-type").to_owned();
            ([(CONTENT_TYPE, kind)], request.body.clone()).into_response()
        }
        ["bytes", count] => {
            let count: usize = count.parse().unwrap_or_default();
            vec![0xff_u8; count.min(16 << 20)].into_response()
        }
        ["json"] => Json(json!({ "slideshow": { "title": "Sample Slide Show" } })).into_response(),
        ["html"] => ([(CONTENT_TYPE, "text/html")], "<h1>Herman Melville</h1>").into_response(),
        ["xml"] => ([(CONTENT_TYPE, "application/xml")], "<a>1</a>").into_response(),
        ["text"] => "plain".into_response(),
        ["damaged-json"] => ([(CONTENT_TYPE, "application/json")], "{\"a\":").into_response(),
        _ => not_found(),
    }
}

/// `/get` takes GET only, and so on.
fn method_allowed(request: &WebRequest, segments: &[&str]) -> Option<Response> {
    let wanted = segments.first().filter(|name| **name != "anything")?;
    (!request.method.eq_ignore_ascii_case(wanted))
        .then(|| StatusCode::METHOD_NOT_ALLOWED.into_response())
}

fn echo(shared: &Shared, request: &WebRequest) -> Value {
    let map = |pairs: Vec<(String, String)>| {
        pairs.into_iter().map(|(key, value)| (key, Value::String(value))).collect::<Map<_, _>>()
    };
    json!({
        "method": request.method,
        "url": format!("{}{}", shared.base, request.path),
        "args": map(request.query.clone()),
        "headers": request.headers,
        "data": request.body,
        "json": request.json(),
        "form": map(request.form()),
        "origin": "127.0.0.1",
    })
}

fn basic(request: &WebRequest, user: &str, password: &str) -> Response {
    let given = request.header("authorization").strip_prefix("Basic ").unwrap_or_default();
    if given == BASE64_STANDARD.encode(format!("{user}:{password}")) {
        return Json(json!({ "authenticated": true, "user": user })).into_response();
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Basic realm=\"Fake Realm\"")]).into_response()
}

fn bearer(request: &WebRequest) -> Response {
    match request.header("authorization").strip_prefix("Bearer ") {
        Some(token) => Json(json!({ "authenticated": true, "token": token })).into_response(),
        None => (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response(),
    }
}

fn redirect(shared: &Shared, count: &str) -> Response {
    let to = match count.parse::<u32>().unwrap_or_default() {
        0 | 1 => "/get".to_owned(),
        more => format!("/redirect/{}", more - 1),
    };
    (StatusCode::FOUND, [(LOCATION, format!("{}{to}", shared.base))]).into_response()
}

fn redirect_to(request: &WebRequest) -> Response {
    let status = request.parameter("status_code").and_then(|code| code.parse().ok());
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    let to = request.parameter("url").unwrap_or("/get").to_owned();
    (status.unwrap_or(StatusCode::FOUND), [(LOCATION, to)]).into_response()
}
