//! What a scalar of YAML means: the core schema of YAML 1.2.

use saphyr_parser::{ScalarStyle, Tag};
use serde_json::{Number, Value};

/// The value of a scalar.
pub(crate) fn value(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return if style == ScalarStyle::Plain { plain(text) } else { Ok(Value::from(text)) };
    };
    let found = match core_name(tag) {
        Some("str" | "!") => return Ok(Value::from(text)),
        Some("null" | "bool" | "int" | "float") => plain(text)?,
        _ => return Err(unknown(tag)),
    };
    let fits = match tag.suffix.as_str() {
        "null" => found.is_null(),
        "bool" => found.is_boolean(),
        "int" => found.is_i64() || found.is_u64(),
        _ => found.is_number(),
    };
    if fits { Ok(found) } else { Err(format!("`{text}` does not fit its tag !!{}", tag.suffix)) }
}

/// Whether a collection may have this tag.
pub(crate) fn check_collection(tag: Option<&Tag>, name: &str) -> Result<(), String> {
    match tag {
        Some(tag) if core_name(tag) != Some(name) => Err(unknown(tag)),
        _ => Ok(()),
    }
}

/// The name of a tag of YAML's own.
fn core_name(tag: &Tag) -> Option<&str> {
    match tag.handle.as_str() {
        "tag:yaml.org,2002:" | "!!" => Some(&tag.suffix),
        "" | "!" if tag.suffix.is_empty() || tag.suffix == "!" => Some("!"),
        _ => None,
    }
}

fn unknown(tag: &Tag) -> String {
    format!("the tag {}{} means nothing here; leave it out", tag.handle, tag.suffix)
}

fn plain(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => match number(text)? {
            Some(number) => Value::Number(number),
            None => Value::from(text),
        },
    })
}

/// The number that a text is; `None` where it is none.
fn number(text: &str) -> Result<Option<Number>, String> {
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if [".inf", ".Inf", ".INF"].contains(&digits) || [".nan", ".NaN", ".NAN"].contains(&text) {
        return Err(format!("`{text}` is no JSON number"));
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        if let Some(digits) = digits.strip_prefix(prefix) {
            return Ok(integer(negative, digits, radix));
        }
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Ok(None);
    }
    // A number has no zeros in front: 007 is a name.
    let leading_zero = digits.len() > 1 && digits.starts_with('0');
    if leading_zero && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    if let Some(integer) = integer(negative, digits, 10) {
        return Ok(Some(integer));
    }
    match text.parse::<f64>() {
        Ok(number) => match Number::from_f64(number) {
            Some(number) => Ok(Some(number)),
            None => Err(format!("`{text}` is too large for a JSON number")),
        },
        Err(_not_a_number) => Ok(None),
    }
}

fn integer(negative: bool, digits: &str, radix: u32) -> Option<Number> {
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u64::from_str_radix(digits, radix).ok()?;
    if negative {
        let value = i64::try_from(-i128::from(value)).ok()?;
        return Some(value.into());
    }
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn plain_scalars_are_what_the_core_schema_says() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("True", json!(true)),
            ("yes", json!("yes")),
            ("0", json!(0)),
            ("-1", json!(-1)),
            ("+12", json!(12)),
            ("007", json!("007")),
            ("0x1F", json!(31)),
            ("0o17", json!(15)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("-9223372036854775808", json!(i64::MIN)),
            ("1.5e3", json!(1500.0)),
            ("0.5", json!(0.5)),
            (".5", json!(0.5)),
            ("1.0.0", json!("1.0.0")),
            ("1_000", json!("1_000")),
            ("-", json!("-")),
            (".", json!(".")),
            ("...x", json!("...x")),
            ("inf", json!("inf")),
            ("12:30", json!("12:30")),
            ("2026-01-01", json!("2026-01-01")),
        ] {
            assert_eq!(plain(text), Ok(expected), "{text}");
        }
        for text in [".inf", "-.inf", ".nan", "1e999"] {
            assert!(plain(text).unwrap_err().contains("JSON number"), "{text}");
        }
    }
}
