//! How far the log has come in its stream.

/// How far the log has come in its stream. It is kept beside the events and moved by the statement that records them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// When the stream was created, in nanoseconds since 1970: one that was made anew has other messages under the same sequences.
    pub(crate) created: i64,
    /// Everything up to here is recorded.
    pub(crate) sequence: u64,
    /// Where it was before the last statement: what lies between may not have been told yet.
    pub(crate) before: u64,
}

impl Place {
    /// The place behind the next statement.
    pub(crate) const fn moved(self, sequence: u64) -> Self {
        Self { created: self.created, sequence, before: self.sequence }
    }
}
