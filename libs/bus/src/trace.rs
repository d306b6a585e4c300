//! W3C trace context: one trace id from the client's request through every hop.

use std::future::Future;

tokio::task_local! {
    static CURRENT: Trace;
}

/// The position in a trace: `traceparent` of <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    trace_id: String,
    span_id: String,
}

impl Trace {
    /// A trace that begins here.
    #[must_use]
    pub fn new() -> Self {
        Self { trace_id: format!("{:032x}", rand::random::<u128>() | 1), span_id: span_id() }
    }

    /// The hop after `traceparent`; a new trace where it is absent or malformed.
    #[must_use]
    pub fn continued(traceparent: Option<&str>) -> Self {
        traceparent.and_then(Self::parse).unwrap_or_default()
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> &str {
        &self.trace_id
    }

    /// The header for the next hop.
    #[must_use]
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace_id, self.span_id)
    }

    /// The trace that the running task belongs to.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Runs a future inside this trace: what it publishes and asks carries it on.
    pub async fn run<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (_version, trace_id, parent) = (parts.next()?, parts.next()?, parts.next()?);
        let hexadecimal = |text: &str, length| {
            text.len() == length
                && text.bytes().all(|byte| byte.is_ascii_hexdigit())
                && text.bytes().any(|byte| byte != b'0')
        };
        (hexadecimal(trace_id, 32) && hexadecimal(parent, 16))
            .then(|| Self { trace_id: trace_id.to_ascii_lowercase(), span_id: span_id() })
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

fn span_id() -> String {
    format!("{:016x}", rand::random::<u64>() | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hop_keeps_the_trace_and_changes_the_span() {
        let incoming = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let trace = Trace::continued(Some(incoming));
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(trace.traceparent(), incoming);
    }

    #[test]
    fn a_malformed_traceparent_begins_a_new_trace() {
        for bad in ["", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(Trace::continued(Some(bad)).trace_id().len(), 32);
        }
    }
}
