//! Which dead letters a client means.

use chrono::{DateTime, Utc};
use muster_bus::{Filter, Range};
use serde::Deserialize;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::{IntoParams, ToSchema};

use crate::domain::written::{Written, written};
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
    #[serde(default, deserialize_with = "written")]
    since: Option<DateTime<Utc>>,
    /// Letters written before this time.
    #[serde(default, deserialize_with = "written")]
    until: Option<DateTime<Utc>>,
    /// `next` of the answer before.
    cursor: Option<String>,
    /// How many at most.
    #[serde(default, deserialize_with = "written")]
    limit: Option<u64>,
    /// Where nothing else is said: every letter is meant.
    all: Option<bool>,
    /// How many replays may begin within a second.
    #[serde(default, deserialize_with = "written")]
    rate: Option<u64>,
}

/// The most letters in one answer, and in one request.
const MOST: u64 = 1000;
const FASTEST: u64 = 1000;

/// What a list is asked by.
#[derive(Debug)]
pub(crate) struct Listing;

/// What letters to be removed are named by.
#[derive(Debug)]
pub(crate) struct Purging;

impl Listing {
    const NOT: [&str; 2] = ["all", "rate"];
}

impl Purging {
    const NOT: [&str; 3] = ["cursor", "limit", "rate"];
}

impl IntoParams for Listing {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        without(&Self::NOT, Chosen::into_params(place))
    }
}

impl IntoParams for Purging {
    fn into_params(place: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        without(&Self::NOT, Chosen::into_params(place))
    }
}

fn without(names: &[&str], all: Vec<Parameter>) -> Vec<Parameter> {
    all.into_iter().filter(|parameter| !names.contains(&parameter.name.as_str())).collect()
}

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

    /// Refuses what a list has no use for.
    pub(crate) fn for_list(self) -> Result<Self, Error> {
        self.only_without(&Listing::NOT)
    }

    /// Refuses what a removal has no use for: who limits it must not lose every letter.
    pub(crate) fn for_purge(self) -> Result<Self, Error> {
        self.only_without(&Purging::NOT)
    }

    fn only_without(self, names: &[&str]) -> Result<Self, Error> {
        let given = [
            ("all", self.all.is_some()),
            ("cursor", self.cursor.is_some()),
            ("limit", self.limit.is_some()),
            ("rate", self.rate.is_some()),
        ];
        let Some((name, _)) = given.iter().find(|(name, is)| *is && names.contains(name)) else {
            return Ok(self);
        };
        let known = without(names, Self::into_params(|| None));
        let known: Vec<String> = known.iter().map(|known| format!("`{}`", known.name)).collect();
        Err(Error::invalid(format!(
            "unknown query parameter `{name}`, expected one of {}",
            known.join(", ")
        )))
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

    pub(crate) fn limit(&self, usual: u64) -> Result<usize, Error> {
        within("limit", self.limit.unwrap_or(usual), MOST)
    }

    pub(crate) fn rate(&self) -> Result<u32, Error> {
        within("rate", self.rate.unwrap_or(50), FASTEST)
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

fn within<T: TryFrom<u64>>(name: &str, value: u64, most: u64) -> Result<T, Error> {
    let good = Some(value).filter(|value| (1..=most).contains(value));
    good.and_then(|value| value.try_into().ok()).ok_or_else(|| {
        Error::invalid(format!("`{name}` is {value}, but must be a number from 1 to {most}"))
    })
}

impl Written for u64 {
    const EXPECTED: &str = "a number from 1 to 1000";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn from_number(number: u64) -> Option<Self> {
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_wrong_value_is_told_with_what_would_be_right() {
        let check = |body: serde_json::Value, expected: &str| {
            let error = serde_json::from_value::<Chosen>(body).unwrap_err().to_string();
            assert!(error.contains(expected), "no {expected:?} in {error}");
        };
        check(json!({"limit": "x"}), "\"x\" is not a number from 1 to 1000");
        check(json!({"rate": -1}), "integer `-1`, expected a number from 1 to 1000");
        check(json!({"limit": 1.5}), "floating point `1.5`, expected a number from 1 to 1000");
        check(json!({"since": "soon"}), "\"soon\" is not a time such as 2026-01-31T12:00:00Z");
        check(json!({"until": 5}), "integer `5`, expected a time such as");
        let read = |body| serde_json::from_value::<Chosen>(body).unwrap();
        assert_eq!(read(json!({"limit": 7})).limit(5).unwrap(), 7);
        assert_eq!(read(json!({"limit": null})).limit(5).unwrap(), 5);
        let error = read(json!({"rate": 5_000_000_000_u64})).rate().unwrap_err().to_string();
        assert_eq!(error, "`rate` is 5000000000, but must be a number from 1 to 1000");
    }
}
