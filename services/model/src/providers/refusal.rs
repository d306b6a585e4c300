//! What errors of providers mean.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde_json::Value;

use crate::error::Error;

/// When to come again where the provider does not say.
const RETRY_AFTER_MS: u64 = 5_000;
/// The longest wait that a provider is believed.
const LONGEST: Duration = Duration::from_secs(3_600);
/// The most of a provider's text, in characters.
const MAX_TEXT: usize = 500;

/// An error that a provider told.
pub(super) struct Refusal<'a> {
    pub(super) provider: &'a str,
    /// What an operator looks at when the key is refused.
    pub(super) key_setting: &'a str,
    /// The address, as it may be shown.
    pub(super) address: String,
    pub(super) status: u16,
    /// Without the key.
    pub(super) message: String,
    pub(super) retry_after_ms: Option<u64>,
}

impl Refusal<'_> {
    /// The same as an error of this service.
    pub(super) fn error(self) -> Error {
        let provider = self.provider.to_owned();
        let Self { status, message, retry_after_ms, .. } = self;
        // Some send 400 for a bad key, and all may repeat a part of it in their text.
        if matches!(status, 401..=403) || message.contains("API key not valid") {
            return Error::Denied { provider, status, setting: self.key_setting.to_owned() };
        }
        match status {
            429 => Error::Exhausted {
                provider,
                message,
                retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS),
            },
            300..=499 if !matches!(status, 408 | 409 | 425) => Error::invalid(format!(
                "{provider} refuses the request with status {status}: {message}"
            )),
            _ => {
                let message = format!("{}: status {status}: {message}", self.address);
                Error::Unavailable { provider, message, retry_after_ms }
            }
        }
    }
}

/// The message in the body of an error.
pub(super) fn message_of_body(body: &[u8]) -> String {
    let message = match serde_json::from_slice::<Value>(body) {
        Ok(value) => {
            // A stream of Google's is a list where it has an error.
            let value = value.get(0).unwrap_or(&value);
            message_of(value.get("error").unwrap_or(value))
        }
        Err(_no_json) => String::from_utf8_lossy(body).into_owned(),
    };
    let message: String = message.trim().chars().take(MAX_TEXT).collect();
    if message.is_empty() { "no reason given".to_owned() } else { message }
}

/// The message of an error.
pub(super) fn message_of(error: &Value) -> String {
    let text = error.get("message").unwrap_or(error);
    let text = text.as_str().map_or_else(|| text.to_string(), str::to_owned);
    text.chars().take(MAX_TEXT).collect()
}

/// The status that an error in the middle of a stream would have had before.
pub(super) fn status_of(error: &Value) -> u16 {
    let number = ["code", "status"].iter().find_map(|field| error.get(*field)?.as_u64());
    if let Some(status) = number.and_then(|number| u16::try_from(number).ok())
        && (400..600).contains(&status)
    {
        return status;
    }
    let word = |field: &str| error.get(field).and_then(Value::as_str).unwrap_or_default();
    let words = format!("{} {}", word("type"), word("code"));
    let known = [("rate_limit", 429), ("insufficient_quota", 429), ("overloaded", 529)];
    let known = known.iter().chain(&[("invalid_request", 400), ("context_length", 400)]);
    let found = known.copied().find(|(part, _)| words.contains(part));
    found.map_or(500, |(_, status)| status)
}

/// When the provider says to come again.
pub(super) fn retry_after_ms(headers: &HeaderMap, body: &[u8]) -> Option<u64> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let exact = text("retry-after-ms").and_then(|text| text.parse::<f64>().ok());
    let exact = exact.map(|wait| wait.clamp(0.0, LONGEST.as_millis() as f64) as u64);
    exact
        .or_else(|| text(RETRY_AFTER.as_str()).and_then(seconds_or_date))
        .or_else(|| in_body(body))
        .or_else(|| when_reset(headers))
}

fn seconds_or_date(text: &str) -> Option<u64> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Some(bounded(seconds));
    }
    DateTime::parse_from_rfc2822(text).ok().map(until)
}

fn bounded(seconds: f64) -> u64 {
    let within = seconds.clamp(0.0, LONGEST.as_secs_f64());
    Duration::from_secs_f64(within).as_millis() as u64
}

fn until(at: DateTime<chrono::FixedOffset>) -> u64 {
    let wait = (at.to_utc() - Utc::now()).num_milliseconds();
    u64::try_from(wait.clamp(0, 3_600_000)).unwrap_or_default()
}

/// Google says it in the error: `{"@type": "…RetryInfo", "retryDelay": "34s"}`.
fn in_body(body: &[u8]) -> Option<u64> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let value = value.get(0).unwrap_or(&value);
    let details = value.pointer("/error/details")?.as_array()?;
    let delay = details.iter().find_map(|detail| detail.get("retryDelay")?.as_str())?;
    delay.strip_suffix('s')?.parse().ok().map(bounded)
}

/// OpenAI says for how long a limit is used up, Anthropic until when.
fn when_reset(headers: &HeaderMap) -> Option<u64> {
    let text = |name: String| headers.get(name)?.to_str().ok().map(str::trim);
    let waits = ["requests", "tokens", "input-tokens", "output-tokens"].iter().filter_map(|what| {
        let openai = || {
            let left = text(format!("x-ratelimit-remaining-{what}"))?;
            let reset = text(format!("x-ratelimit-reset-{what}"))?;
            (left == "0").then(|| duration(reset)).flatten()
        };
        let anthropic = || {
            let left = text(format!("anthropic-ratelimit-{what}-remaining"))?;
            let reset = text(format!("anthropic-ratelimit-{what}-reset"))?;
            (left == "0").then(|| DateTime::parse_from_rfc3339(reset).ok().map(until)).flatten()
        };
        openai().or_else(anthropic)
    });
    waits.max()
}

/// Reads `1h2m3.5s` and `20ms`.
fn duration(text: &str) -> Option<u64> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| letter.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at_checked(end)?;
        let unit_end = tail.find(|letter: char| !letter.is_ascii_alphabetic());
        let (unit, tail) = tail.split_at_checked(unit_end.unwrap_or(tail.len()))?;
        let scale = match unit {
            "h" => 3_600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 0.001,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * scale;
        rest = tail;
    }
    Some(bounded(seconds))
}

/// The whole chain of causes, without the URL, which may carry a password.
pub(super) fn told(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let kind = if error.is_connect() { "cannot connect" } else { "connection failed" };
    if causes.is_empty() { kind.to_owned() } else { format!("{kind}: {}", causes.join(": ")) }
}

#[cfg(test)]
mod tests {
    use muster_contracts::{Code, HasCode};
    use reqwest::header::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    fn wait(headers: &[(&'static str, &str)], body: &str) -> Option<u64> {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        retry_after_ms(&headers.iter().map(pair).collect(), body.as_bytes())
    }

    #[test]
    fn a_provider_says_when_to_come_again_in_many_ways() {
        assert_eq!(wait(&[("retry-after", "7")], ""), Some(7_000));
        assert_eq!(wait(&[("retry-after", "0.25")], ""), Some(250));
        assert_eq!(wait(&[("retry-after", "1e99")], ""), Some(3_600_000));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:00 GMT")], ""), Some(0));
        assert_eq!(wait(&[("retry-after", "soon")], ""), None);
        assert_eq!(wait(&[("retry-after-ms", "12"), ("retry-after", "1")], ""), Some(12));
        let body = r#"[{"error":{"code":429,"details":[{"@type":"x"},{"retryDelay":"3.5s"}]}}]"#;
        assert_eq!(wait(&[], body), Some(3_500));
        let used = ("x-ratelimit-remaining-requests", "0");
        assert_eq!(wait(&[used, ("x-ratelimit-reset-requests", "1m2.5s")], ""), Some(62_500));
        let left = ("x-ratelimit-remaining-requests", "9");
        assert_eq!(wait(&[left, ("x-ratelimit-reset-requests", "1m")], ""), None);
        let used = ("anthropic-ratelimit-tokens-remaining", "0");
        let reset = ("anthropic-ratelimit-tokens-reset", "2015-10-21T07:28:00Z");
        assert_eq!(wait(&[used, reset], ""), Some(0));
        assert_eq!(duration("20ms"), Some(20));
        assert_eq!(duration("x"), None);
    }

    #[test]
    fn a_status_decides_the_code() {
        let code = |status: u16, message: &str| {
            let (provider, key_setting) = ("p", "P_KEY");
            let (address, message) = (String::new(), message.to_owned());
            let refusal =
                Refusal { provider, key_setting, address, status, message, retry_after_ms: None };
            refusal.error().code()
        };
        for (status, expected) in [
            (400, Code::Invalid),
            (401, Code::Denied),
            (402, Code::Denied),
            (403, Code::Denied),
            (404, Code::Invalid),
            (408, Code::Unavailable),
            (413, Code::Invalid),
            (429, Code::Exhausted),
            (500, Code::Unavailable),
            (503, Code::Unavailable),
            (529, Code::Unavailable),
        ] {
            assert_eq!(code(status, "x"), expected, "{status}");
        }
        assert_eq!(code(400, "API key not valid. Please pass a valid API key."), Code::Denied);
    }

    #[test]
    fn messages_and_statuses_are_found_in_every_dialect() {
        for (body, expected) in [
            (r#"{"error":{"message":"no such model"}}"#, "no such model"),
            (r#"{"type":"error","error":{"type":"x","message":"too long"}}"#, "too long"),
            (r#"[{"error":{"code":400,"message":"bad"}}]"#, "bad"),
            (r#"{"error":"plain"}"#, "plain"),
            ("<html>", "<html>"),
            ("", "no reason given"),
        ] {
            assert_eq!(message_of_body(body.as_bytes()), expected);
        }
        for (error, expected) in [
            (json!({ "type": "overloaded_error" }), 529),
            (json!({ "type": "rate_limit_error" }), 429),
            (json!({ "code": "rate_limit_exceeded" }), 429),
            (json!({ "code": 502 }), 502),
            (json!({ "type": "invalid_request_error" }), 400),
            (json!("boom"), 500),
        ] {
            assert_eq!(status_of(&error), expected, "{error}");
        }
    }
}
