//! The `Prefer` header (RFC 7240), as far as it says how long to wait.

use std::time::Duration;

/// The longest wait that a client gets.
pub(crate) const MAX_WAIT_S: u64 = 300;

/// How long the client wants to wait for the end. Preferences that make no sense are ignored, as RFC 7240 says.
pub(crate) fn wait<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Duration> {
    headers
        .flat_map(|header| header.split(','))
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())
        .filter(|seconds| *seconds > 0)
        .map(|seconds: u64| Duration::from_secs(seconds.min(MAX_WAIT_S)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_found_among_other_preferences_and_capped() {
        let check = |header: &str, seconds: Option<u64>| {
            assert_eq!(wait([header].into_iter()), seconds.map(Duration::from_secs), "{header:?}");
        };
        check("wait=30", Some(30));
        check("respond-async, Wait = \"5\" ; x=1", Some(5));
        check("wait=301", Some(300));
        check("wait=99999999999", Some(300));
        check("wait=0", None);
        check("wait=-1", None);
        check("wait=soon", None);
        check("respond-async", None);
        check("", None);
    }
}
