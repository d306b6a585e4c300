//! The part of a path behind `?`.

use axum::{
    extract::{FromRequestParts, rejection::QueryRejection},
    http::request::Parts,
};
use serde::de::DeserializeOwned;

use crate::error::Error;

/// Parameters of a path; a wrong one is named with its value.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        let error = match query {
            Ok(axum::extract::Query(query)) => return Ok(Self(query)),
            Err(error) => plainly(reason(&error)),
        };
        let given = parts.uri.query().unwrap_or_default();
        Err(Error::invalid(match error.split_once(": ") {
            Some((name, reason)) if let Some(value) = value_of(given, name) => {
                format!("the query parameter `{name}` is {value:?}: {reason}")
            }
            _ => format!("the query is {given:?}: {error}"),
        }))
    }
}

/// What is wrong, without the name of the library's step that found it.
fn reason(error: &QueryRejection) -> String {
    let text = error.body_text();
    text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text).to_owned()
}

/// The words of the standard library's parsers say what happened inside, not what would be right.
fn plainly(reason: String) -> String {
    const WORDS: [(&str, &str); 4] = [
        ("invalid digit found in string", "it must be a whole number that is not negative"),
        (
            "cannot parse integer from empty string",
            "it must be a whole number that is not negative",
        ),
        (
            "number too large to fit in target type",
            "it is larger than any number that is meant here",
        ),
        ("provided string was not `true` or `false`", "it must be true or false"),
    ];
    let known = WORDS.iter().find(|(technical, _)| reason.ends_with(technical));
    known.map_or_else(|| reason.clone(), |(technical, plain)| reason.replace(technical, plain))
}

/// As it was sent, escapes included.
fn value_of<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Page {
        #[expect(dead_code, reason = "only read")]
        after: Option<u64>,
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named_with_its_value() {
        let check = async |uri: &str, expected: &str| {
            let (mut parts, ()) = Request::builder().uri(uri).body(()).unwrap().into_parts();
            let error = Query::<Page>::from_request_parts(&mut parts, &()).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let digit = "it must be a whole number that is not negative";
        check("/x?after=soon", &format!("the query parameter `after` is \"soon\": {digit}")).await;
        let known = "unknown field `before`, expected `after`";
        check("/x?before=1", &format!("the query parameter `before` is \"1\": {known}")).await;
    }
}
