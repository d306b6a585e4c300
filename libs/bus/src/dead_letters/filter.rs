//! Which dead letters are meant.

use chrono::{DateTime, Utc};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::{Fault, subject};

use super::Letter;
use crate::publish::subject_of;

/// Which dead letters are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The stream of the message.
    pub stream: Option<String>,
    /// The consumer that gave it up.
    pub consumer: Option<String>,
    /// The fault's code, by its name: `NOT_FOUND`; or `MAX_DELIVERIES`.
    pub code: Option<String>,
    /// The message's type: its full name, or the last part of it.
    pub message_type: Option<String>,
    /// The execution that the message belongs to.
    pub execution_id: Option<String>,
    /// Letters written at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Letters written before this time.
    pub until: Option<DateTime<Utc>>,
}

impl Filter {
    /// Whether it says nothing, so that every letter fits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The subjects of the letters that may fit.
    pub(super) fn pattern(&self) -> Result<String, Fault> {
        let any = || "any".to_owned();
        let (stream, consumer) = (self.stream.clone(), self.consumer.clone());
        // Refuses what cannot be a token.
        let named = DeadLetter {
            stream: stream.clone().unwrap_or_else(any),
            consumer: consumer.clone().unwrap_or_else(any),
            ..DeadLetter::default()
        };
        subject_of(&named)?;
        let star = || "*".to_owned();
        let template = <DeadLetter as muster_contracts::Addressed>::SUBJECT;
        Ok(template
            .replace("{stream}", &stream.unwrap_or_else(star))
            .replace("{consumer}", &consumer.unwrap_or_else(star)))
        .map(|pattern| subject::pattern(&pattern))
    }

    pub(super) fn fits(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == value)
        };
        let name = letter.message_type();
        let content = &letter.content;
        is(&self.stream, &content.stream)
            && is(&self.consumer, &content.consumer)
            && is(&self.code, &content.code)
            && is(&self.execution_id, letter.execution_id())
            && (is(&self.message_type, name)
                || is(&self.message_type, name.rsplit('.').next().unwrap_or(name)))
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter() -> Letter {
        let content = DeadLetter {
            stream: "EXECUTIONS".into(),
            consumer: "tool-x".into(),
            code: "INVALID".into(),
            headers: [
                ("ce-type".to_owned(), "muster.tool.v1.ToolExecutionRequested".to_owned()),
                ("Muster-Execution".to_owned(), "e1".to_owned()),
            ]
            .into(),
            ..DeadLetter::default()
        };
        Letter { sequence: 1, time: DateTime::UNIX_EPOCH, content }
    }

    #[test]
    fn a_letter_fits_where_everything_that_is_said_is_so() {
        let check = |filter: Filter, expected: bool| {
            assert_eq!(filter.fits(&letter()), expected, "{filter:?}");
        };
        let some = |text: &str| Some(text.to_owned());
        check(Filter::default(), true);
        check(
            Filter { stream: some("EXECUTIONS"), code: some("INVALID"), ..Filter::default() },
            true,
        );
        check(
            Filter { stream: some("EXECUTIONS"), code: some("DENIED"), ..Filter::default() },
            false,
        );
        check(Filter { message_type: some("ToolExecutionRequested"), ..Filter::default() }, true);
        check(
            Filter {
                message_type: some("muster.tool.v1.ToolExecutionRequested"),
                ..Filter::default()
            },
            true,
        );
        check(
            Filter { message_type: some("tool.v1.ToolExecutionRequested"), ..Filter::default() },
            false,
        );
        check(Filter { execution_id: some("e2"), ..Filter::default() }, false);
        check(Filter { since: Some(DateTime::UNIX_EPOCH), ..Filter::default() }, true);
        check(Filter { until: Some(DateTime::UNIX_EPOCH), ..Filter::default() }, false);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let pattern = |stream: &str| {
            Filter { stream: Some(stream.to_owned()), ..Filter::default() }.pattern()
        };
        assert_eq!(pattern("DLQ").unwrap(), "dlq.DLQ.*");
        for stream in ["*", ">", "a.b", "a b", ""] {
            assert!(pattern(stream).is_err(), "{stream:?}");
        }
    }
}
