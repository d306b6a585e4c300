//! Reads what a provider says of the usage. Whatever stands there, the reply beside it is paid and is kept.

use serde_json::Value;

use super::numbers;
use crate::domain::usage::Told;

/// The most that is shown of a value, in characters.
const SHOWN: usize = 60;

/// Reads numbers of tokens, and keeps in mind what is none.
#[derive(Default)]
pub(super) struct Counts {
    odd: Option<String>,
}

impl Counts {
    /// The number at this path. `None`: there is nothing or null, or what is there is no number of tokens.
    pub(super) fn number(&mut self, value: &Value, path: &[&str]) -> Option<u32> {
        let (mut found, mut name) = (value, "usage");
        for field in path {
            match found {
                Value::Object(_) if numbers::unread(found).is_some() => {
                    return self.odd(name, found);
                }
                Value::Object(fields) => (found, name) = (fields.get(*field)?, *field),
                Value::Null => return None,
                other => return self.odd(name, other),
            }
        }
        match found {
            Value::Null => None,
            value => tokens(value).or_else(|| self.odd(name, value)),
        }
    }

    /// The sum of numbers of which the first must be there; one that is odd makes it unknown.
    pub(super) fn sum(&mut self, value: &Value, names: &[&str]) -> Option<u32> {
        let (first, rest) = names.split_first()?;
        let mut sum = self.number(value, &[*first])?;
        for name in rest {
            let mut more = Self::default();
            let number = more.number(value, &[*name]).unwrap_or_default();
            if let Some(odd) = more.odd {
                self.odd.get_or_insert(odd);
                return None;
            }
            sum = sum.checked_add(number)?;
        }
        Some(sum)
    }

    /// Whether anything was no number of tokens.
    pub(super) const fn are_odd(&self) -> bool {
        self.odd.is_some()
    }

    /// The same with what was odd.
    pub(super) fn finish(self, told: Told) -> Told {
        Told { odd: self.odd, ..told }
    }

    fn odd<T>(&mut self, name: &str, value: &Value) -> Option<T> {
        self.odd.get_or_insert_with(|| {
            let shown: String = numbers::text(value).chars().take(SHOWN).collect();
            format!("{name} is {shown}")
        });
        None
    }
}

/// Some write 7.0 for 7.
fn tokens(value: &Value) -> Option<u32> {
    if let Some(number) = value.as_u64() {
        return u32::try_from(number).ok();
    }
    let number = value.as_f64()?;
    let is_count = number.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&number);
    is_count.then_some(number as u32)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_of_tokens_is_whole_and_neither_negative_nor_endless() {
        for (value, number) in [
            (json!(0), Some(0)),
            (json!(u32::MAX), Some(u32::MAX)),
            (json!(7.0), Some(7)),
            (json!(7.5), None),
            (json!(-1), None),
            (json!(-0.5), None),
            (json!(u64::from(u32::MAX) + 1), None),
            (json!(u64::MAX), None),
            (json!(1e300), None),
            (json!("7"), None),
            (json!(true), None),
            (json!([7]), None),
        ] {
            let mut counts = Counts::default();
            assert_eq!(counts.number(&json!({ "n": value }), &["n"]), number, "{value}");
            assert_eq!(counts.odd.is_some(), number.is_none(), "{value}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_odd_and_what_is_odd_is_named() {
        let mut counts = Counts::default();
        let usage = json!({ "a": null, "b": { "c": null }, "n": 1 });
        assert_eq!(counts.number(&usage, &["a"]), None);
        assert_eq!(counts.number(&usage, &["a", "c"]), None);
        assert_eq!(counts.number(&usage, &["b", "c"]), None);
        assert_eq!(counts.number(&usage, &["x", "y"]), None);
        assert_eq!(counts.odd, None);
        assert_eq!(counts.number(&usage, &["n", "c"]), None);
        assert_eq!(counts.number(&json!("much"), &["n"]), None);
        assert_eq!(counts.odd.as_deref(), Some("n is 1"), "the first is told");
        let unread = numbers::parse(r#"{"n":{"a":NaN},"m":1e400}"#).unwrap();
        for (path, told) in
            [(&["n", "a"][..], "a is NaN"), (&["n", "a", "b"], "a is NaN"), (&["m"], "m is 1e400")]
        {
            let mut counts = Counts::default();
            assert_eq!(counts.number(&unread, path), None);
            assert_eq!(counts.odd.as_deref(), Some(told));
        }
        let mut counts = Counts::default();
        counts.number(&json!(["x".repeat(900)]), &["n"]);
        let told = counts.odd.unwrap();
        assert!(told.starts_with("usage is [\"xxx") && told.len() < 80, "{told}");
    }

    #[test]
    fn a_sum_is_known_where_each_of_its_numbers_is() {
        let sum = |usage: Value| Counts::default().sum(&usage, &["a", "b", "c"]);
        assert_eq!(sum(json!({ "a": 1, "b": 2, "c": 3 })), Some(6));
        assert_eq!(sum(json!({ "a": 1, "c": null })), Some(1));
        assert_eq!(sum(json!({ "b": 2, "c": 3 })), None);
        assert_eq!(sum(json!({ "a": 1, "b": 2, "c": "x" })), None);
        assert_eq!(sum(json!({ "a": 1, "b": u32::MAX })), None);
    }
}
