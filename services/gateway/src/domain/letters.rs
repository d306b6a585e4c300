//! Which dead letters a client means.

use chrono::{DateTime, Utc};
use muster_bus::{Filter, Range};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::error::Error;

/// Which dead letters are meant: those that fit everything that is said.
#[derive(Clone, Debug, Default, Deserialize, IntoParams, ToSchema)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Chosen {
    /// The stream of the message: `EXECUTIONS`.
    stream: Option<String>,
    /// The consumer that gave it up: `tool-tool-execution-requested`.
    consumer: Option<String>,
    /// The code: `NOT_FOUND`, or `MAX_DELIVERIES`.
    code: Option<String>,
    /// The message's type: its full name, or the last part of it.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    message_type: Option<String>,
    /// The execution that the message belongs to.
    execution_id: Option<String>,
    /// Letters written at this time or later.
    since: Option<DateTime<Utc>>,
    /// Letters written before this time.
    until: Option<DateTime<Utc>>,
    /// `next` of the answer before.
    cursor: Option<String>,
    /// How many at most.
    limit: Option<usize>,
    /// Where nothing else is said: every letter is meant.
    all: Option<bool>,
    /// How many replays may begin within a second.
    rate: Option<u32>,
}

/// The most letters in one answer, and in one request.
const MOST: usize = 1000;
const FASTEST: u32 = 1000;

impl Chosen {
    pub(crate) fn filter(&self) -> Filter {
        Filter {
            stream: self.stream.clone(),
            consumer: self.consumer.clone(),
            code: self.code.clone(),
            message_type: self.message_type.clone(),
            execution_id: self.execution_id.clone(),
            since: self.since,
            until: self.until,
        }
    }

    /// As `filter`, where a slip must not mean every letter.
    pub(crate) fn filter_or_all(&self) -> Result<Filter, Error> {
        let filter = self.filter();
        match (filter.is_empty(), self.all.unwrap_or_default()) {
            (true, false) => Err(Error::invalid(
                "no letters are named: give stream, consumer, code, type, execution_id, since or until, or `all` as true for every letter",
            )),
            (false, true) => Err(Error::invalid(
                "`all` is true, but some letters are named too: leave one of them out",
            )),
            _ => Ok(filter),
        }
    }

    pub(crate) fn range(&self) -> Result<Range, Error> {
        let Some(cursor) = &self.cursor else { return Ok(Range::ALL) };
        let range = cursor.split_once('-').and_then(|(first, last)| {
            Some(Range { first: first.parse().ok()?, last: last.parse().ok()? })
        });
        range.filter(|range| range.first > 0).ok_or_else(|| {
            Error::invalid(format!(
                "`cursor` is {cursor:?}, but must be the `next` of an answer, such as 101-250"
            ))
        })
    }

    pub(crate) fn limit(&self, usual: usize) -> Result<usize, Error> {
        within("limit", self.limit.unwrap_or(usual), 1, MOST)
    }

    pub(crate) fn rate(&self) -> Result<u32, Error> {
        within("rate", self.rate.unwrap_or(50), 1, FASTEST)
    }
}

/// The cursor that stands for a range.
pub(crate) fn cursor(range: Range) -> String {
    format!("{}-{}", range.first, range.last)
}

/// The sequence in a path.
pub(crate) fn sequence(text: &str) -> Result<u64, Error> {
    text.parse().ok().filter(|sequence| *sequence > 0).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Error::invalid(format!(
            "the dead letter's sequence is {shown:?}, but must be a number from 1 on, as GET /v1/dead-letters lists it"
        ))
    })
}

fn within<T: PartialOrd + std::fmt::Display>(
    name: &str,
    value: T,
    least: T,
    most: T,
) -> Result<T, Error> {
    if value < least || value > most {
        return Err(Error::invalid(format!(
            "`{name}` is {value}, but must be from {least} to {most}"
        )));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let range = Range { first: 101, last: 250 };
        let chosen = Chosen { cursor: Some(cursor(range)), ..Chosen::default() };
        assert_eq!(chosen.range().unwrap(), range);
        for bad in ["", "-", "0-1", "1", "a-b", "1-2-3"] {
            let chosen = Chosen { cursor: Some(bad.to_owned()), ..Chosen::default() };
            assert!(chosen.range().unwrap_err().to_string().contains("such as 101-250"), "{bad}");
        }
    }

    #[test]
    fn every_letter_is_meant_only_where_that_is_said() {
        let all = Chosen { all: Some(true), ..Chosen::default() };
        let code = Chosen { code: Some("INVALID".to_owned()), ..Chosen::default() };
        assert!(all.filter_or_all().is_ok() && code.filter_or_all().is_ok());
        assert!(Chosen::default().filter_or_all().is_err());
        let both = Chosen { all: Some(true), ..code };
        assert!(both.filter_or_all().is_err());
    }
}
