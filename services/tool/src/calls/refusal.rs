//! What a server's refusal says about another try: for tools, whose callers come again by themselves.

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};

use crate::domain::call::Effect;
use crate::error::{Again, Error};
use crate::outbound::header_text;

/// The longest wait that callers are told to keep. Whoever asks for more is not asked again by itself.
const LONGEST_WAIT_MS: u64 = 60_000;
/// The wait where a server has had enough and does not say when it is enough no more.
const WAIT_MS: u64 = 1_000;

/// When the server wants to be asked again, if it says so.
pub(crate) fn again(headers: &HeaderMap) -> Again {
    let told = headers.get(RETRY_AFTER).map(header_text);
    told.and_then(|told| after_ms(&told, Utc::now())).map_or(Again::Unknown, Again::After)
}

/// A number of seconds, or a date of HTTP. What is more than can be counted is the longest wait there is.
fn after_ms(told: &str, now: DateTime<Utc>) -> Option<u64> {
    let told = told.trim();
    if let Ok(seconds) = told.parse::<u64>() {
        return Some(seconds.saturating_mul(1_000));
    }
    if is_number(told) {
        return Some(u64::MAX);
    }
    // The day of the week says nothing that the date does not say, and is often wrong.
    let date = told.split_once(',').map_or(told, |(_day, date)| date).trim();
    if let Ok(at) = DateTime::parse_from_rfc2822(date) {
        return Some(u64::try_from((at.to_utc() - now).num_milliseconds()).unwrap_or_default());
    }
    beyond(date).then_some(u64::MAX)
}

/// Whether a date is one but for its year, which is more than a calendar has.
fn beyond(date: &str) -> bool {
    let year = date.split_whitespace().nth(2).filter(|year| year.len() > 4 && is_number(year));
    year.is_some_and(|year| DateTime::parse_from_rfc2822(&date.replacen(year, "9996", 1)).is_ok())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit())
}

/// An error of a request as the caller of a tool gets it: what passes by itself has a code that is tried again.
pub(crate) fn for_caller(error: Error, effect: Effect) -> Error {
    let Error::Raised { kind: "communication", status, detail: text, again } = error else {
        return error;
    };
    let once = effect == Effect::Once;
    match (status, again) {
        (429 | 503, Again::After(wait)) if wait > LONGEST_WAIT_MS => {
            let detail = format!(
                "{text} (Retry-After: {} s; only up to {} s are waited for)",
                wait / 1_000,
                LONGEST_WAIT_MS / 1_000
            );
            Error::Raised { kind: "communication", status, detail, again }
        }
        // A server that counts has done nothing.
        (429, Again::After(retry_after_ms)) => Error::Exhausted { text, retry_after_ms },
        (429, _) => Error::Exhausted { text, retry_after_ms: WAIT_MS },
        (503, Again::After(wait)) => Error::Unavailable { text, retry_after_ms: Some(wait) },
        (503, Again::Unsent) => Error::unavailable(text),
        (408 | 425 | 502 | 503 | 504, _) if !once => Error::unavailable(text),
        // Whoever stands between has lost the answer.
        (502 | 504, _) => Error::Interrupted(text),
        _ => Error::Raised { kind: "communication", status, detail: text, again },
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::{Code, HasCode};

    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        for (told, wait) in [
            ("7", Some(7_000)),
            (" 0 ", Some(0)),
            ("Sat, 21 Nov 2026 12:00:30 GMT", Some(30_000)),
            ("Sat, 21 Nov 2026 11:00:00 GMT", Some(0)),
            ("99999999999999999999", Some(u64::MAX)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(251_607_038_399_000)),
            ("Mon, 31 Dec 9999 23:59:59 GMT", Some(251_607_038_399_000)),
            ("Fri, 31 Dec 999999999 23:59:59 GMT", Some(u64::MAX)),
            ("Fri, 31 Dec 99999999999999999999999 23:59:59 GMT", Some(u64::MAX)),
            ("Fri, 32 Dec 999999999 23:59:59 GMT", None),
            ("wait about 12345 s", None),
            ("9999999999999999999999x", None),
            ("", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(after_ms(told, now), wait, "{told}");
        }
    }

    #[test]
    fn what_passes_by_itself_may_come_again() {
        let check = |status, again, effect| {
            let raised = Error::Raised { kind: "communication", status, detail: "x".into(), again };
            let error = for_caller(raised, effect);
            (error.code(), error.fault().retry_after_ms)
        };
        use Again::{After, Unknown, Unsent};
        use Effect::{Idempotent, Once};
        for effect in [Idempotent, Once] {
            assert_eq!(check(429, After(7_000), effect), (Code::Exhausted, Some(7_000)));
            assert_eq!(check(429, Unknown, effect), (Code::Exhausted, Some(1_000)));
            assert_eq!(check(429, After(61_000), effect), (Code::Conflict, None));
            assert_eq!(check(429, After(u64::MAX), effect), (Code::Conflict, None));
            assert_eq!(check(503, After(u64::MAX), effect), (Code::Conflict, None));
            assert_eq!(check(503, After(2_000), effect), (Code::Unavailable, Some(2_000)));
            assert_eq!(check(503, Unsent, effect), (Code::Unavailable, None));
            for status in [400, 401, 403, 404, 409, 410, 422, 500, 501] {
                assert_eq!(check(status, Unknown, effect), (Code::Conflict, None), "{status}");
            }
        }
        for status in [408, 425, 502, 503, 504] {
            assert_eq!(check(status, Unknown, Idempotent), (Code::Unavailable, None), "{status}");
            assert_eq!(check(status, Unknown, Once), (Code::Conflict, None), "{status}");
        }
    }
}
