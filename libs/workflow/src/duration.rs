//! Lengths of time as the DSL writes them.

use std::time::Duration;

use serde_json::{Map, Value};

/// The longest length that is accepted: ten years of 366 days.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 86_400);

/// Milliseconds in each unit of a duration object.
const UNITS: [(&str, u64); 5] = [
    ("days", 86_400_000),
    ("hours", 3_600_000),
    ("minutes", 60_000),
    ("seconds", 1_000),
    ("milliseconds", 1),
];

/// A duration written as a map of units: `{minutes: 1, seconds: 30}`.
pub(crate) fn from_map(map: &Map<String, Value>) -> Result<Duration, String> {
    let names = || UNITS.map(|(name, _)| name).join(", ");
    if map.is_empty() {
        return Err(format!("a duration needs at least one of {}", names()));
    }
    let mut total = 0_u64;
    for (unit, count) in map {
        let Some((_, factor)) = UNITS.iter().find(|(name, _)| name == unit) else {
            return Err(format!("`{unit}` is no unit of a duration; the units are {}", names()));
        };
        let Some(count) = count.as_u64() else {
            return Err(format!("{unit}: {count} is not a whole number of 0 or more"));
        };
        total = total.saturating_add(count.saturating_mul(*factor));
    }
    bounded(Duration::from_millis(total))
}

/// A duration written as in ISO 8601, without years and months: `P1DT12H30M5.5S`.
pub(crate) fn from_iso(text: &str) -> Result<Duration, String> {
    let date = text.split('T').next().unwrap_or_default();
    if text.starts_with('P') && date.contains(['Y', 'M']) {
        return Err(format!(
            "`{text}` has years or months, whose length is not fixed: write weeks or days"
        ));
    }
    let wrong = || format!("`{text}` is not an ISO 8601 duration such as PT30S or P1DT12H");
    let body = text.strip_prefix('P').ok_or_else(wrong)?;
    let (date, time) = body.split_once('T').unwrap_or((body, ""));
    if body.is_empty() || (body.contains('T') && time.is_empty()) {
        return Err(wrong());
    }
    let seconds = units(date, &[('W', 604_800.0), ('D', 86_400.0)]).ok_or_else(wrong)?
        + units(time, &[('H', 3_600.0), ('M', 60.0), ('S', 1.0)]).ok_or_else(wrong)?;
    bounded(Duration::try_from_secs_f64(seconds).map_err(|_too_large| wrong())?)
}

/// Sums numbers with units, each unit once at most and in the given order.
fn units(text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut rest = text;
    let mut units = units.iter();
    let mut total = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit = tail.chars().next()?;
        let (_, factor) = units.find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        rest = tail.get(unit.len_utf8()..)?;
    }
    Some(total)
}

fn bounded(duration: Duration) -> Result<Duration, String> {
    if duration > LONGEST {
        return Err(format!(
            "{} s is too long, {} s (ten years) at most",
            duration.as_secs(),
            LONGEST.as_secs()
        ));
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(text: &str, milliseconds: Option<u64>) {
        assert_eq!(from_iso(text).ok(), milliseconds.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn iso_durations_are_read() {
        check("PT30S", Some(30_000));
        check("PT0.25S", Some(250));
        check("P1DT12H30M5S", Some(131_405_000));
        check("P2W", Some(1_209_600_000));
        for wrong in
            ["", "P", "PT", "30S", "P1Y", "P1M", "PT5", "PT1S1M", "P1H", "PT-1S", "P9999999W"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn duration_maps_are_read() {
        let map = |value: Value| from_map(value.as_object().unwrap());
        assert_eq!(map(json!({"minutes": 1, "seconds": 30})), Ok(Duration::from_secs(90)));
        assert!(map(json!({})).unwrap_err().contains("at least one of days"));
        assert!(map(json!({"years": 1})).unwrap_err().contains("`years` is no unit"));
        assert!(map(json!({"seconds": -1})).unwrap_err().contains("seconds: -1"));
    }
}
