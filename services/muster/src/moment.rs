//! Times as people write them.

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};

/// `15m` ago, or the time that it says.
pub(crate) fn moment(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.to_utc());
    }
    let wrong = || {
        format!(
            "{text:?} is no time: write 30s, 15m, 12h or 30d for so long ago, or a time such as 2026-01-31T12:00:00Z"
        )
    };
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match text.get(number.len()..) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        _ => bail!(wrong()),
    };
    let ago = number.parse::<u32>().with_context(wrong)?;
    now.checked_sub_signed(TimeDelta::seconds(i64::from(ago) * seconds)).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-02-01T00:00:00Z").unwrap().to_utc();
        let check = |text: &str, expected: &str| {
            assert_eq!(moment(text, now).unwrap().to_rfc3339(), expected, "{text}");
        };
        check("30s", "2026-01-31T23:59:30+00:00");
        check("15m", "2026-01-31T23:45:00+00:00");
        check("12h", "2026-01-31T12:00:00+00:00");
        check("30d", "2026-01-02T00:00:00+00:00");
        check("2026-01-31T12:00:00+01:00", "2026-01-31T11:00:00+00:00");
        for bad in ["", "d", "5", "1w", "-1h", "1.5h", "yesterday", "99999999999d", "1é"] {
            let error = moment(bad, now).unwrap_err().to_string();
            assert!(error.contains("write 30s, 15m, 12h or 30d"), "{bad}: {error}");
        }
    }
}
