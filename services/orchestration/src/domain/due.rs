//! Ids of executions that start by a schedule: the same cause gives the same id.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Timelike, Utc};

/// How a time stands in an id: no letter of it means anything in a subject.
const TIME: &str = "%Y%m%dT%H%M%SZ";

/// The execution of a workflow at a time.
pub(crate) fn execution_at(workflow: &str, due: DateTime<Utc>) -> String {
    match due.nanosecond() / 1_000_000 {
        0 => format!("{workflow}-{}", due.format(TIME)),
        millis => format!("{workflow}-{}-{millis:03}", due.format(TIME)),
    }
}

/// Whether an execution of a workflow was started because its time had come.
pub(crate) fn is_by_time(workflow: &str, execution_id: &str) -> bool {
    let time = execution_id.strip_prefix(workflow).and_then(|rest| rest.strip_prefix('-'));
    let time = time.map(|time| time.split_once('Z').map_or(time, |(time, _)| time));
    time.is_some_and(|time| NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%S").is_ok())
}

/// The execution that an event starts.
pub(crate) fn execution_by(workflow: &str, event: &str) -> String {
    format!("{workflow}-{event}")
}

/// A time so long after another.
pub(crate) fn due_of(after: DateTime<Utc>, pause: Duration) -> Option<DateTime<Utc>> {
    after.checked_add_signed(chrono::Duration::from_std(pause).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_says_when_it_was_due() {
        let at = |due: &str| execution_at("nightly-backup", due.parse().unwrap());
        assert_eq!(at("2026-01-31T00:00:00Z"), "nightly-backup-20260131T000000Z");
        assert_eq!(at("2026-01-31T00:00:00.5Z"), "nightly-backup-20260131T000000Z-500");
        assert!(is_by_time("nightly-backup", "nightly-backup-20260131T000000Z"));
        assert!(is_by_time("nightly-backup", "nightly-backup-20260131T000000Z-500"));
        assert!(!is_by_time("nightly-backup", &execution_by("nightly-backup", "0a1b")));
        assert!(!is_by_time("nightly", "nightly-backup-20260131T000000Z"));
        assert!(!is_by_time("nightly", "0198c0de-0000-7000-8000-000000000000"));
    }
}
