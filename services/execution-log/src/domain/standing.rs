//! How executions stand, as the entries of their journals say it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use muster_contracts::Message;
use muster_contracts::workflow::v1::JournalEntry;
use serde_json::Value;

use super::Record;
use super::record::key;
use super::seen::{Seen, text};

/// What an entry of a journal says of its execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) workflow: String,
    pub(crate) version: String,
    pub(crate) status: String,
    /// Empty: the platform's own.
    pub(crate) tenant: String,
}

impl Standing {
    /// What an event says; nothing where it is no entry of a journal, or one of a version that did not say it.
    pub(super) fn of(message_type: &str, seen: &Seen) -> Option<Self> {
        if message_type != JournalEntry::NAME {
            return None;
        }
        let part = |part: &Option<Value>| key(text(part.as_ref()));
        let status = part(&seen.status);
        (!status.is_empty()).then(|| Self {
            workflow: part(&seen.workflow),
            version: part(&seen.version),
            status,
            tenant: part(&seen.tenant),
        })
    }
}

/// What several entries say of one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known<'a> {
    pub(crate) last: &'a Standing,
    pub(crate) sequence: u64,
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

/// What records say of executions, in the order of their ids: statements that touch the same rows touch them in the same order.
pub(crate) fn standings(records: &[Record]) -> BTreeMap<&str, Known<'_>> {
    let mut known: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    for record in records {
        let Some(last) = &record.standing else { continue };
        let (sequence, from, to) = (record.sequence, record.at, record.at);
        let one = Known { last, sequence, from, to };
        let all = known.entry(&record.execution_id).or_insert(one);
        if sequence > all.sequence {
            (all.last, all.sequence) = (last, sequence);
        }
        (all.from, all.to) = (all.from.min(from), all.to.max(to));
    }
    known
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(body: &Value) -> Seen {
        Seen::of(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_last_entry_of_each_execution_counts_whatever_comes_first() {
        let record = |id: &str, sequence: u64, status: &str| {
            let entry = json!({"workflow": "w", "version": "1.0.0", "status": status});
            Record {
                execution_id: id.to_owned(),
                sequence,
                at: DateTime::from_timestamp(i64::try_from(sequence).unwrap(), 0).unwrap(),
                standing: Standing::of(JournalEntry::NAME, &seen(&entry)),
                ..Record::default()
            }
        };
        let records =
            [record("b", 5, "completed"), record("b", 3, "running"), record("a", 4, "waiting")];
        let known = standings(&records);
        let told: Vec<_> = known
            .iter()
            .map(|(id, known)| {
                (*id, known.last.status.as_str(), known.from.timestamp(), known.to.timestamp())
            })
            .collect();
        assert_eq!(told, [("a", "waiting", 4, 4), ("b", "completed", 3, 5)]);
    }

    #[test]
    fn other_events_and_older_entries_say_nothing() {
        assert_eq!(
            Standing::of(
                "muster.workflow.v1.ExecutionStarted",
                &seen(&json!({"status": "running"}))
            ),
            None
        );
        assert_eq!(Standing::of(JournalEntry::NAME, &seen(&json!({"workflow": "w"}))), None);
    }
}
