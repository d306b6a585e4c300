//! Which executions are asked for.

use chrono::{DateTime, Utc};
use muster_contracts::log::v1::ListExecutionsRequest;
use muster_contracts::time;

use super::{MAX_PAGE, key};
use crate::error::Error;

/// What an execution that is in the log may be.
const STATUSES: [&str; 6] =
    ["running", "waiting", "suspended", "completed", "faulted", "cancelled"];
/// What one is that was accepted and has not begun: nothing is recorded of it.
const PENDING: &str = "pending";
const DEFAULT_PAGE: u32 = 100;

/// A checked question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Empty: any.
    pub(crate) status: String,
    /// Empty: any.
    pub(crate) workflow: String,
    pub(crate) since: Option<DateTime<Utc>>,
    pub(crate) until: Option<DateTime<Utc>>,
    pub(crate) before: Option<Cursor>,
    pub(crate) limit: u32,
    /// Empty: of all.
    pub(crate) tenant: String,
}

/// The place behind the last execution of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) started_at: DateTime<Utc>,
    pub(crate) execution_id: String,
}

impl Listing {
    pub(crate) fn parse(request: ListExecutionsRequest) -> Result<Self, Error> {
        let ListExecutionsRequest { status, workflow, since, until, cursor, limit, tenant } =
            request;
        if !status.is_empty() && !STATUSES.contains(&status.as_str()) {
            let known = STATUSES.join(", ");
            let mut text = format!("`status` is {status:?}, but it must be one of {known}");
            if status == PENDING {
                text.push_str("; one that is pending has not begun and is not in the list: ask for it by its id");
            }
            return Err(Error::Invalid(text));
        }
        let limit = match limit {
            0 => DEFAULT_PAGE,
            limit if limit <= MAX_PAGE => limit,
            limit => return Err(Error::Limit(limit)),
        };
        let (since, until) =
            (since.as_ref().map(|at| time(Some(at))), until.as_ref().map(|at| time(Some(at))));
        let before = if cursor.is_empty() { None } else { Some(Cursor::parse(&cursor)?) };
        Ok(Self {
            status,
            workflow: key(&workflow),
            since,
            until,
            before,
            limit,
            tenant: key(&tenant),
        })
    }
}

impl Cursor {
    fn parse(text: &str) -> Result<Self, Error> {
        let wrong = || {
            let shown: String = text.chars().take(80).collect();
            Error::Invalid(format!(
                "`cursor` is {shown:?}, but it must be the `next` of an answer, unchanged"
            ))
        };
        let (micros, execution_id) = text.split_once('_').ok_or_else(wrong)?;
        let micros = micros.parse().ok().and_then(DateTime::from_timestamp_micros);
        let started_at = micros.ok_or_else(wrong)?;
        if execution_id.is_empty() || execution_id.contains('\0') {
            return Err(wrong());
        }
        Ok(Self { started_at, execution_id: execution_id.to_owned() })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}_{}", self.started_at.timestamp_micros(), self.execution_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_part_is_named_with_its_value() {
        let check = |request: ListExecutionsRequest, words: &str| {
            let error = Listing::parse(request).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        };
        let request = ListExecutionsRequest::default;
        check(
            ListExecutionsRequest { status: "dancing".into(), ..request() },
            "\"dancing\", but it must be one of running, waiting",
        );
        check(
            ListExecutionsRequest { status: "pending".into(), ..request() },
            "pending has not begun and is not in the list: ask for it by its id",
        );
        check(ListExecutionsRequest { limit: 1001, ..request() }, "1001");
        for cursor in ["x", "x_y", "1_", "99999999999999999999_e", "1_e\0"] {
            check(ListExecutionsRequest { cursor: cursor.into(), ..request() }, "`cursor` is");
        }
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let cursor = Cursor {
            started_at: DateTime::from_timestamp_micros(1_234_567).unwrap(),
            execution_id: "e_1".to_owned(),
        };
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
    }
}
