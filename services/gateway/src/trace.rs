//! W3C trace context at the edge: a client's trace goes on, a request without one begins its own.

use std::fmt;

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use muster_bus::trace::Trace;
use tracing::{Instrument, info_span};

const HEADER: &str = "traceparent";
/// What a client or a proxy calls a request; clients of OpenAI's show it in their errors.
const REQUEST_ID: &str = "x-request-id";
/// The longest id that is repeated, in bytes.
const LONGEST_ID: usize = 200;

/// The id of the trace that a request belongs to: 32 hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceId(String);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the request inside its trace and tells the client which one that is.
pub(crate) async fn within<F>(mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let given = request.headers().get(HEADER).and_then(|header| header.to_str().ok());
    let trace = Trace::continued(given);
    let traceparent = HeaderValue::from_str(&trace.traceparent());
    let trace_id = trace.trace_id();
    let request_id =
        request_id(request.headers()).or_else(|| HeaderValue::from_str(&trace_id).ok());
    let span =
        info_span!("http", trace_id, method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(TraceId(trace_id));
    let mut response = trace.run(next(request).instrument(span)).await;
    if let Ok(value) = traceparent {
        response.headers_mut().insert(HEADER, value);
    }
    if let Some(id) = request_id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The id that the request came with, where it can be one.
fn request_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let given = headers.get(REQUEST_ID)?;
    let is_one = (1..=LONGEST_ID).contains(&given.len())
        && given.as_bytes().iter().all(u8::is_ascii_graphic);
    is_one.then(|| given.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_repeated_where_it_can_be_one() {
        let check = |given: &'static str, expected: Option<&str>| {
            let headers = HeaderMap::from_iter([(
                axum::http::HeaderName::from_static(REQUEST_ID),
                HeaderValue::from_static(given),
            )]);
            let found = request_id(&headers);
            assert_eq!(found.as_ref().and_then(|id| id.to_str().ok()), expected);
        };
        check("req-7/a.b", Some("req-7/a.b"));
        check("two words", None);
        check("", None);
        let long: &'static str = Box::leak("x".repeat(201).into_boxed_str());
        check(long, None);
    }
}
