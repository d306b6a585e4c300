//! Which writes of an account have come through. Where a process does not hear what became of one, the account itself says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How long the last write of a process is remembered: far longer than it tries to write again. In milliseconds.
pub(super) const REMEMBERED_MS: i64 = 24 * 3_600_000;
/// How many processes are remembered.
const MOST: usize = 256;

/// A process numbers its writes, each higher than the one before it; of each process the last one is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Writers(BTreeMap<String, Last>);

/// The number of a write, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Last(u64, i64);

impl Writers {
    /// Notes the write that a process is about to make.
    pub(super) fn sign(&mut self, writer: &str, number: u64, now_ms: i64) {
        self.0.retain(|_, last| now_ms.saturating_sub(last.1) < REMEMBERED_MS);
        self.0.insert(writer.to_owned(), Last(number, now_ms));
        while self.0.len() > MOST {
            let others = self.0.iter().filter(|(name, _)| *name != writer);
            let Some(oldest) = others.min_by_key(|(_, last)| last.1).map(|(name, _)| name.clone())
            else {
                return;
            };
            self.0.remove(&oldest);
        }
    }

    /// Whether this write, or a later one of the same process, has come through.
    pub(super) fn have(&self, writer: &str, number: u64) -> bool {
        self.0.get(writer).is_some_and(|last| last.0 >= number)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_has_come_through_where_it_or_a_later_one_of_its_process_is_there() {
        let mut writers = Writers::default();
        writers.sign("a", 7, 0);
        writers.sign("b", 2, 1);
        let found = [("a", 6), ("a", 7), ("a", 8), ("b", 3), ("c", 1)];
        let found = found.map(|(writer, number)| writers.have(writer, number));
        assert_eq!(found, [true, true, false, false, false]);
    }

    #[test]
    fn who_wrote_long_ago_is_forgotten_and_whoever_writes_is_not() {
        let mut writers = Writers::default();
        writers.sign("old", 1, 0);
        writers.sign("new", 1, REMEMBERED_MS - 1);
        assert!(writers.have("old", 1));
        writers.sign("new", 2, REMEMBERED_MS);
        assert!(!writers.have("old", 1) && writers.have("new", 2));
        for at in 0..1_000 {
            // A clock that stands still, or goes back.
            writers.sign(&at.to_string(), 1, REMEMBERED_MS - at % 2);
            assert!(writers.have(&at.to_string(), 1), "{at}");
        }
        assert_eq!(writers.0.len(), MOST);
    }
}
