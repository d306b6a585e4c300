//! Which dead letters are meant.

use chrono::{DateTime, SecondsFormat, Utc};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::{CATALOGUE, Code, Fault, Stream, subject};

use super::Letter;
use super::bury::MAX_DELIVERIES;
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

    /// Refuses what no letter can have: the answer «none» would hide a slip of the pen.
    fn check(&self) -> Result<(), Fault> {
        let streams = || Stream::ALL.iter().map(|stream| stream.name()).collect();
        known("stream", self.stream.as_ref(), streams, |name, known| name == known)?;
        let codes = || Code::ALL.iter().map(|code| code.name()).chain([MAX_DELIVERIES]).collect();
        known("code", self.code.as_ref(), codes, |name, known| name == known)?;
        let types = || {
            let kept = CATALOGUE.iter().filter(|entry| entry.stream.is_some());
            let mut types: Vec<&str> = kept.map(|entry| entry.message).collect();
            types.sort_unstable();
            types.dedup();
            types
        };
        known("message type", self.message_type.as_ref(), types, is_called)?;
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => {
                let [since, until] =
                    [since, until].map(|time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
                let text = format!("since is {since}, but must be before until, which is {until}");
                Err(Fault::new(Code::Invalid, text))
            }
            _ => Ok(()),
        }
    }

    /// The subjects of the letters that may fit.
    pub(super) fn pattern(&self) -> Result<String, Fault> {
        self.check()?;
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
        let is_type = self.message_type.as_ref().is_none_or(|wanted| is_called(wanted, name));
        let content = &letter.content;
        is(&self.stream, &content.stream)
            && is(&self.consumer, &content.consumer)
            && is(&self.code, &content.code)
            && is(&self.execution_id, letter.execution_id())
            && is_type
            && self.since.is_none_or(|since| letter.time >= since)
            && self.until.is_none_or(|until| letter.time < until)
    }
}

/// Whether a message type has this name, in full or by its last part.
fn is_called(wanted: &str, name: &str) -> bool {
    wanted == name || Some(wanted) == name.rsplit('.').next()
}

fn known(
    what: &str,
    wanted: Option<&String>,
    all: impl Fn() -> Vec<&'static str>,
    is: impl Fn(&str, &str) -> bool,
) -> Result<(), Fault> {
    let Some(wanted) = wanted else { return Ok(()) };
    let all = all();
    if all.iter().any(|known| is(wanted, known)) {
        return Ok(());
    }
    let short: Vec<&str> = all.iter().map(|name| name.rsplit('.').next().unwrap_or(name)).collect();
    let shown: String = wanted.chars().take(80).collect();
    let text = format!("there is no {what} {shown:?}; there are {}", short.join(", "));
    Err(Fault::new(Code::Invalid, text))
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

    #[test]
    fn what_no_letter_can_have_is_refused_with_what_there_is() {
        let check = |filter: Filter, expected: &[&str]| {
            let fault = filter.pattern().unwrap_err();
            assert_eq!(fault.code, Code::Invalid);
            for part in expected {
                assert!(fault.message.contains(part), "no {part:?} in {fault}");
            }
        };
        let some = |text: &str| Some(text.to_owned());
        let none = Filter::default;
        let code = |code: &str| Filter { code: some(code), ..none() };
        check(
            code("not_found"),
            &["no code \"not_found\"", "INVALID, NOT_FOUND", "MAX_DELIVERIES"],
        );
        check(code(""), &["no code \"\""]);
        let stream = Filter { stream: some("EXECUTION"), ..none() };
        check(stream, &["no stream \"EXECUTION\"", "EXECUTIONS"]);
        let kind = |name: &str| Filter { message_type: some(name), ..none() };
        check(kind("ToolCall"), &["no message type \"ToolCall\"", "ToolExecutionRequested"]);
        check(kind("v1.StartExecution"), &["no message type"]);
        let at = |second: i64| DateTime::from_timestamp(second, 0);
        let (early, late) = ("1970-01-01T00:00:05Z", "1970-01-01T00:00:09Z");
        check(Filter { since: at(9), until: at(5), ..none() }, &[early, late, "must be before"]);
        check(Filter { since: at(5), until: at(5), ..none() }, &[early]);
        for good in [
            code("MAX_DELIVERIES"),
            kind("StartExecution"),
            kind("muster.workflow.v1.StartExecution"),
            Filter { since: at(5), until: at(9), ..none() },
        ] {
            assert!(good.pattern().is_ok(), "{good:?}");
        }
    }
}
