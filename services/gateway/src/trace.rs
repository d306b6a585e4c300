//! W3C trace context at the edge: a client's trace goes on, a request without one begins its own.

use std::fmt;

use axum::{extract::Request, http::HeaderValue, middleware::Next, response::Response};
use muster_bus::trace::Trace;
use tracing::{Instrument, info_span};

const HEADER: &str = "traceparent";

/// The id of the trace that a request belongs to: 32 hexadecimal digits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TraceId(String);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Runs the request inside its trace and tells the client which one that is.
pub(crate) async fn within(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(HEADER).and_then(|header| header.to_str().ok());
    let trace = Trace::continued(given);
    let traceparent = HeaderValue::from_str(&trace.traceparent());
    let trace_id = trace.trace_id();
    let span =
        info_span!("http", trace_id, method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(TraceId(trace_id));
    let mut response = trace.run(next.run(request).instrument(span)).await;
    if let Ok(value) = traceparent {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
