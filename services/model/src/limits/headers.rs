//! What a provider's own headers say of its limits.

use chrono::Utc;
use muster_contracts::gateway::v1::RateLimitWarning;
use muster_contracts::now;
use reqwest::header::HeaderMap;

/// A limit is near when less than this part of it is left.
const NEAR: u64 = 10;
/// Limit and what is left of it, of requests and of tokens: OpenAI's names, which most servers use, and Anthropic's.
const NAMES: [[[&str; 2]; 2]; 2] = [
    [
        ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests"],
        ["x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens"],
    ],
    [
        ["anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining"],
        ["anthropic-ratelimit-tokens-limit", "anthropic-ratelimit-tokens-remaining"],
    ],
];

/// A warning where the headers of an answer say that little is left.
pub(crate) fn warning(
    provider: &str,
    model: &str,
    headers: &HeaderMap,
) -> Option<RateLimitWarning> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let of = |[limit, left]: [&str; 2]| Some((number(limit), number(left)?));
    let [requests, tokens] = NAMES
        .into_iter()
        .map(|[requests, tokens]| [of(requests), of(tokens)])
        .find(|found| found.iter().any(Option::is_some))?;
    let near = |found: Option<(Option<u64>, u64)>| {
        found.is_some_and(|(limit, left)| left < limit.map_or(1, |limit| limit.div_ceil(NEAR)))
    };
    if !near(requests) && !near(tokens) {
        return None;
    }
    Some(RateLimitWarning {
        provider: provider.to_owned(),
        model: model.to_owned(),
        remaining_requests: requests.map_or(u64::MAX, |(_, left)| left),
        remaining_tokens: tokens.map_or(u64::MAX, |(_, left)| left),
        timestamp: now(Utc::now()),
        ..RateLimitWarning::default()
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn little_that_is_left_is_a_warning() {
        let check = |pairs: &[(&'static str, &'static str)], expected: Option<u64>| {
            let found = warning("p", "m", &headers(pairs)).map(|found| found.remaining_requests);
            assert_eq!(found, expected, "{pairs:?}");
        };
        check(&[], None);
        let limit = ("x-ratelimit-limit-requests", "500");
        check(&[limit, ("x-ratelimit-remaining-requests", "499")], None);
        check(&[limit, ("x-ratelimit-remaining-requests", "49")], Some(49));
        check(&[("x-ratelimit-remaining-requests", "0")], Some(0));
        check(&[("x-ratelimit-remaining-requests", "many")], None);
        check(
            &[
                ("anthropic-ratelimit-requests-limit", "50"),
                ("anthropic-ratelimit-requests-remaining", "40"),
                ("anthropic-ratelimit-tokens-limit", "40000"),
                ("anthropic-ratelimit-tokens-remaining", "100"),
            ],
            Some(40),
        );
    }
}
