//! W3C trace context: one trace id from the client's request through every hop.

use std::future::Future;

tokio::task_local! {
    static CURRENT: Trace;
}

/// The flag `sampled`: <https://www.w3.org/TR/trace-context/#sampled-flag>.
const SAMPLED: u8 = 1;

/// The position in a trace: `traceparent` of <https://www.w3.org/TR/trace-context/>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    trace_id: u128,
    span_id: u64,
    /// Whether somebody before us may have recorded it, and wants others to. We record no spans, so that a trace that begins here is not sampled; nats-server takes each sampled message apart, which
    /// costs it a tenth of its time.
    is_sampled: bool,
}

impl Trace {
    /// A trace that begins here.
    #[must_use]
    pub fn new() -> Self {
        Self {
            trace_id: rand::random::<u128>() | 1,
            span_id: rand::random::<u64>() | 1,
            is_sampled: false,
        }
    }

    /// The hop after `traceparent`; a new trace where it is absent or malformed.
    #[must_use]
    pub fn continued(traceparent: Option<&str>) -> Self {
        traceparent.and_then(Self::parse).unwrap_or_default()
    }

    /// The trace's id, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The header for the next hop.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.is_sampled);
        format!("00-{:032x}-{:016x}-{flags:02x}", self.trace_id, self.span_id)
    }

    /// The trace that the running task belongs to.
    #[must_use]
    pub fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    /// The id of the trace that the running task belongs to: by it the lines of the log are found that belong together. Empty where there is none.
    #[must_use]
    pub fn current_id() -> String {
        Self::current().map(|trace| trace.trace_id()).unwrap_or_default()
    }

    /// Runs a future inside this trace: what it publishes and asks carries it on.
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> + use<F> {
        CURRENT.scope(self, future)
    }

    /// As [`Trace::run`], for what does not wait.
    pub(crate) fn run_now<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    fn parse(traceparent: &str) -> Option<Self> {
        let mut parts = traceparent.split('-');
        let (_version, trace_id, parent) = (parts.next()?, parts.next()?, parts.next()?);
        if trace_id.len() != 32 || parent.len() != 16 {
            return None;
        }
        let flags = parts.next().and_then(|flags| u8::from_str_radix(flags, 16).ok());
        let is_sampled = flags.is_some_and(|flags| flags & SAMPLED != 0);
        let parent = u64::from_str_radix(parent, 16).ok()?;
        let trace_id = u128::from_str_radix(trace_id, 16).ok()?;
        (trace_id != 0 && parent != 0).then(|| Self {
            trace_id,
            span_id: rand::random::<u64>() | 1,
            is_sampled,
        })
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
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
    fn a_trace_is_sampled_where_its_beginner_says_so() {
        for (flags, told) in [("01", "01"), ("00", "00"), ("03", "01"), ("02", "00"), ("x", "00")] {
            let incoming = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let next = Trace::continued(Some(&incoming)).traceparent();
            assert!(next.ends_with(&format!("-{told}")), "{flags}: {next}");
        }
        assert!(Trace::new().traceparent().ends_with("-00"));
    }

    #[test]
    fn a_malformed_traceparent_begins_a_new_trace() {
        for bad in ["", "00-xyz", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            assert_eq!(Trace::continued(Some(bad)).trace_id().len(), 32);
        }
    }
}
