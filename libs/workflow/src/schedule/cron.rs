//! Cron expressions: minute, hour, day of the month, month, day of the week; in UTC.

use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveTime, TimeDelta, Timelike, Utc};

/// How far ahead a time is looked for: the 29th of February comes again within 8 years.
const DAYS: u64 = 8 * 366 + 1;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A parsed cron expression. Each field is a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cron {
    seconds: u64,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both a day of the month and a day of the week are given: one of them is enough.
    either_day: bool,
}

/// The values that a field may have.
struct Field {
    name: &'static str,
    first: u32,
    last: u32,
    names: &'static [&'static str],
}

const SECOND: Field = Field { name: "second", first: 0, last: 59, names: &[] };
const MINUTE: Field = Field { name: "minute", first: 0, last: 59, names: &[] };
const HOUR: Field = Field { name: "hour", first: 0, last: 23, names: &[] };
const DAY: Field = Field { name: "day of the month", first: 1, last: 31, names: &[] };
const MONTH: Field = Field { name: "month", first: 1, last: 12, names: &MONTHS };
const WEEKDAY: Field = Field { name: "day of the week", first: 0, last: 7, names: &WEEKDAYS };

impl Cron {
    /// Five fields, or six with the second first, or a name such as `@daily`.
    pub(crate) fn parse(text: &str) -> Result<Cron, String> {
        let expression = match text.trim() {
            "@yearly" | "@annually" => "0 0 1 1 *",
            "@monthly" => "0 0 1 * *",
            "@weekly" => "0 0 * * 0",
            "@daily" | "@midnight" => "0 0 * * *",
            "@hourly" => "0 * * * *",
            other => other,
        };
        let fields: Vec<&str> = expression.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest => ("0", rest),
        };
        let [minute, hour, day, month, weekday] = rest else {
            return Err(format!(
                "`{text}` is not a cron expression: it has {} fields, but there must be five \
                 (minute, hour, day of the month, month, day of the week) as in `30 9 * * mon-fri`",
                fields.len()
            ));
        };
        let bits = |field: &Field, part: &str| {
            field.bits(part).map_err(|error| format!("`{text}` is not a cron expression: {error}"))
        };
        let weekdays = bits(&WEEKDAY, weekday)?;
        let cron = Cron {
            seconds: bits(&SECOND, second)?,
            minutes: bits(&MINUTE, minute)?,
            hours: bits(&HOUR, hour)?,
            days: bits(&DAY, day)?,
            months: bits(&MONTH, month)?,
            // 7 is Sunday too.
            weekdays: (weekdays | (weekdays >> 7)) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        };
        match cron.next(DateTime::UNIX_EPOCH) {
            Some(_) => Ok(cron),
            None => Err(format!("`{text}` is a cron expression whose time never comes")),
        }
    }

    /// The first time after `after`.
    pub(crate) fn next(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let start = after.checked_add_signed(TimeDelta::seconds(1))?.with_nanosecond(0)?;
        let today = start.date_naive();
        for ahead in 0..DAYS {
            let day = today.checked_add_days(Days::new(ahead))?;
            if !self.has_day(day) {
                continue;
            }
            let from = if ahead == 0 { start.time() } else { NaiveTime::MIN };
            if let Some(time) = self.time(from) {
                return Some(day.and_time(time).and_utc());
            }
        }
        None
    }

    fn has_day(&self, day: NaiveDate) -> bool {
        let month = has(self.months, day.month());
        let of_month = has(self.days, day.day());
        let of_week = has(self.weekdays, day.weekday().num_days_from_sunday());
        month && if self.either_day { of_month || of_week } else { of_month && of_week }
    }

    /// The first time of a day that is not before `from`.
    fn time(&self, from: NaiveTime) -> Option<NaiveTime> {
        let hour = next(self.hours, from.hour())?;
        if hour > from.hour() {
            return NaiveTime::from_hms_opt(hour, next(self.minutes, 0)?, next(self.seconds, 0)?);
        }
        let later = |hour: u32| {
            let hour = next(self.hours, hour + 1)?;
            NaiveTime::from_hms_opt(hour, next(self.minutes, 0)?, next(self.seconds, 0)?)
        };
        let Some(minute) = next(self.minutes, from.minute()) else { return later(hour) };
        if minute > from.minute() {
            return NaiveTime::from_hms_opt(hour, minute, next(self.seconds, 0)?);
        }
        if let Some(second) = next(self.seconds, from.second()) {
            return NaiveTime::from_hms_opt(hour, minute, second);
        }
        match next(self.minutes, minute + 1) {
            Some(minute) => NaiveTime::from_hms_opt(hour, minute, next(self.seconds, 0)?),
            None => later(hour),
        }
    }
}

impl Field {
    /// `*`, `5`, `1-5`, `*/10`, `1-30/5`, and these with commas between.
    fn bits(&self, text: &str) -> Result<u64, String> {
        let mut bits = 0;
        for part in text.split(',') {
            let (range, step) = part.split_once('/').unwrap_or((part, "1"));
            let step: usize = match step.parse() {
                Ok(step) if step > 0 => step,
                _ => {
                    return Err(format!(
                        "the step `{step}` of the {} must be 1 or more",
                        self.name
                    ));
                }
            };
            let (first, last) = match range.split_once('-') {
                _ if range == "*" => (self.first, self.last),
                Some((first, last)) => (self.number(first)?, self.number(last)?),
                // `5/15` is from 5 on, each 15.
                None if part.contains('/') => (self.number(range)?, self.last),
                None => (self.number(range)?, self.number(range)?),
            };
            if first > last {
                return Err(format!("the {} goes from {first} down to {last}", self.name));
            }
            bits = (first..=last).step_by(step).fold(bits, |bits, value| bits | (1 << value));
        }
        Ok(bits)
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let lower = text.to_ascii_lowercase();
        if let Some(place) = self.names.iter().position(|name| *name == lower) {
            return Ok(self.first + u32::try_from(place).unwrap_or_default());
        }
        match text.parse() {
            Ok(number) if (self.first..=self.last).contains(&number) => Ok(number),
            _ => Err(format!(
                "the {} `{text}` must be from {} to {}",
                self.name, self.first, self.last
            )),
        }
    }
}

fn has(bits: u64, value: u32) -> bool {
    bits & (1 << value) != 0
}

/// The first value that is not below `from`.
fn next(bits: u64, from: u32) -> Option<u32> {
    let left = bits.checked_shr(from)?.checked_shl(from)?;
    (left != 0).then(|| left.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_is_found() {
        let check = |expression: &str, after: &str, expected: &str| {
            let next = Cron::parse(expression).unwrap().next(after.parse().unwrap()).unwrap();
            assert_eq!(next, expected.parse::<DateTime<Utc>>().unwrap(), "{expression}");
        };
        check("0 0 * * *", "2026-01-31T10:00:00Z", "2026-02-01T00:00:00Z");
        check("0 0 * * *", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z");
        check("0 0 * * *", "2026-01-30T23:59:59.999Z", "2026-01-31T00:00:00Z");
        check("*/15 * * * *", "2026-01-31T10:15:00Z", "2026-01-31T10:30:00Z");
        check("*/15 * * * *", "2026-01-31T10:59:30Z", "2026-01-31T11:00:00Z");
        check("30 9 * * mon-fri", "2026-01-30T09:30:00Z", "2026-02-02T09:30:00Z");
        check("0 12 13 * fri", "2026-02-07T00:00:00Z", "2026-02-13T12:00:00Z");
        check("0 12 1 * fri", "2026-02-07T00:00:00Z", "2026-02-13T12:00:00Z");
        check("0 0 29 2 *", "2096-03-01T00:00:00Z", "2104-02-29T00:00:00Z");
        check("0 0 1 JAN,jul *", "2026-02-01T00:00:00Z", "2026-07-01T00:00:00Z");
        check("0 0 * * 7", "2026-01-31T00:00:00Z", "2026-02-01T00:00:00Z");
        check("*/10 * * * * *", "2026-01-31T10:00:51Z", "2026-01-31T10:01:00Z");
        check("5/20 8 * * *", "2026-01-31T08:06:00Z", "2026-01-31T08:25:00Z");
        check("59 23 31 12 *", "2026-12-31T23:59:00Z", "2027-12-31T23:59:00Z");
        check("@weekly", "2026-01-31T10:00:00Z", "2026-02-01T00:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let check = |expression: &str, expected: &str| {
            let error = Cron::parse(expression).unwrap_err();
            assert!(error.contains(expected) && error.contains(expression), "{error}");
        };
        check("0 0 * *", "it has 4 fields, but there must be five");
        check("", "it has 0 fields");
        check("60 0 * * *", "the minute `60` must be from 0 to 59");
        check("0 0 * foo *", "the month `foo` must be from 1 to 12");
        check("*/0 * * * *", "the step `0` of the minute must be 1 or more");
        check("0 17-9 * * *", "the hour goes from 17 down to 9");
        check("0 0 30 2 *", "time never comes");
    }
}
