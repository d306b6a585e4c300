//! The paths that speak OpenAI's wire format: any client of OpenAI's can use the platform by its address.

mod abandon;
mod agent;
mod asked;
pub(crate) mod chat;
pub(crate) mod embeddings;
pub(crate) mod models;
pub(crate) mod responses;
mod stream;

pub(crate) use abandon::{Abandoned, tell_abandoned};

use std::time::Duration;

use axum::http::{HeaderValue, Method, header, response::Parts};
use axum::{body::Body, response::Response};

use crate::problem::Problem;
use crate::wire::openai::Failure;

/// As long as OpenAI's own clients wait.
const LONGEST: Duration = Duration::from_secs(600);

/// Whether errors of this path are told in OpenAI's format.
pub(crate) fn speaks(method: &Method, path: &str) -> bool {
    match path {
        "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings" => true,
        "/v1/models" => method == Method::GET,
        path => method == Method::GET && path.starts_with("/v1/models/"),
    }
}

/// The response that tells of an error.
pub(crate) fn failed(mut parts: Parts, problem: &Problem) -> Response {
    let text = serde_json::to_vec(&Failure::of(problem)).unwrap_or_default();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Response::from_parts(parts, Body::from(text))
}
