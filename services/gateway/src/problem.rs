//! The one place that turns an error into a response: RFC 9457 problem documents.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_contracts::Code;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::error;

use crate::{controllers::openai, error::Error, trace::TraceId};

/// An error, as `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Problem {
    /// A name for the kind of problem: `urn:muster:problem:` and the code in lower case.
    #[serde(rename = "type")]
    pub kind: String,
    /// The HTTP status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong, with the value, and what would be right.
    pub detail: String,
    /// The path that was asked for.
    pub instance: String,
    /// One of INVALID, NOT_FOUND, CONFLICT, UNAUTHENTICATED, DENIED, EXHAUSTED, UNAVAILABLE, DEADLINE, INTERNAL.
    pub code: String,
    /// The trace that the request belongs to; it stands in the logs of every service that took part.
    pub trace_id: String,
    /// More for programs, such as the list of what is wrong with a workflow.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub details: Value,
}

impl Problem {
    fn new(status: StatusCode, code: Code, detail: String) -> Self {
        Self {
            kind: format!(
                "urn:muster:problem:{}",
                code.name().to_ascii_lowercase().replace('_', "-")
            ),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail,
            instance: String::new(),
            code: code.name().to_owned(),
            trace_id: String::new(),
            details: Value::Null,
        }
    }

    /// What a client is told of an error.
    pub(crate) fn of(error: &Error) -> Self {
        let status =
            StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let detail = if error.code() == Code::Internal {
            "internal error".to_owned()
        } else {
            error.to_string()
        };
        let details = match error {
            Error::Fault(fault) if fault.code != Code::Internal => fault.details.clone(),
            Error::Refused(refusal) | Error::Unauthenticated(refusal) => refusal.details(),
            _ => Value::Null,
        };
        Self { details, ..Self::new(status, error.code(), detail) }
    }
}

impl IntoResponse for Error {
    /// A bare response that carries the problem; [`render`] writes it.
    fn into_response(self) -> Response {
        let problem = Problem::of(&self);
        match &self {
            Self::Internal(chain) => error!(error = format!("{chain:#}"), "request failed"),
            Self::Fault(fault) if fault.code == Code::Internal => {
                error!(error = fault.message, "request failed");
            }
            _ => {}
        }
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        if let Some(seconds) = self.retry_after_s() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(problem);
        response
    }
}

/// Writes every error response as a problem document, also those that axum and its layers make.
pub(crate) async fn render<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let instance = request.uri().path().to_owned();
    let method = request.method().clone();
    let trace_id = request.extensions().get::<TraceId>().cloned().unwrap_or_default();
    let response = next(request).await;
    if response.status().as_u16() < 400 {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let mut problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None => {
            foreign(parts.status, &method, &instance, parts.headers.get(header::ALLOW), body).await
        }
    };
    problem.instance = instance;
    problem.trace_id = trace_id.to_string();
    parts.headers.remove(header::CONTENT_LENGTH);
    if parts.status == StatusCode::UNAUTHORIZED {
        // RFC 9110: a 401 always says how to do better.
        let scheme = || HeaderValue::from_static("Bearer realm=\"muster\"");
        parts.headers.entry(header::WWW_AUTHENTICATE).or_insert_with(scheme);
    }
    if openai::speaks(&method, &problem.instance) {
        return openai::failed(parts, &problem);
    }
    let text = serde_json::to_vec(&problem).unwrap_or_default();
    parts
        .headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    Response::from_parts(parts, Body::from(text))
}

/// The problem behind a response that is not ours.
async fn foreign(
    status: StatusCode,
    method: &axum::http::Method,
    path: &str,
    allow: Option<&HeaderValue>,
    body: Body,
) -> Problem {
    let text = to_bytes(body, 4096).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let code = match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        status if status.is_server_error() => Code::Internal,
        _ => Code::Invalid,
    };
    let allowed = allow.and_then(|allow| allow.to_str().ok()).unwrap_or("another one");
    let detail = match status {
        StatusCode::NOT_FOUND if text.is_empty() => {
            format!("there is nothing at {path}; /openapi.json lists what there is")
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            format!("{method} is not possible at {path}; use {allowed}")
        }
        status if status.is_server_error() => "internal error".to_owned(),
        _ => text,
    };
    Problem::new(status, code, detail)
}
