//! How far the log has come in its stream.

use super::Record;

/// How far the log has come in its stream. It is kept beside the events and moved by the statement that records them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// When the stream was created, in nanoseconds since 1970: one that was made anew has other messages under the same sequences.
    pub(crate) created: i64,
    /// Everything up to here is recorded.
    pub(crate) sequence: u64,
    /// What the last statement recorded is behind this: it may not have been told yet.
    pub(crate) before: u64,
}

impl Place {
    /// The place behind a statement that records these.
    pub(crate) fn moved(self, records: &[Record]) -> Self {
        let first = records.first().map_or(self.sequence + 1, |record| record.sequence);
        let last = records.last().map_or(self.sequence, |record| record.sequence);
        Self { created: self.created, sequence: last, before: first.saturating_sub(1) }
    }
}
