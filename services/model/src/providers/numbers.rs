//! Reads JSON with numbers that no parser takes, as some servers write them: `NaN`, `-Infinity`, `1e400`, `.5`. What stands beside such a number is paid.
//!
//! Such a number is read as an object that nothing else is read as. So only what takes any value takes it: the usage, where it is odd, and the arguments of a call, which are told as they stood.

use serde_json::{Map, Value};

/// The only name in the object of an unreadable number. Unicode has no such letter.
const MARK: &str = "\u{fdd0}";
/// The most of them in one text: a usage has few, and vectors that are nothing else must not fill the memory.
const MOST: usize = 64;

/// Reads JSON. Numbers that cannot be read are known by [`unread`].
///
/// # Errors
/// What is wrong with it, where it is no JSON object for another reason.
pub(super) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(text).or_else(|error| {
        let marked = marked(text).and_then(|text| serde_json::from_str(&text).ok());
        marked.filter(|value: &Value| value.is_object() && unread(value).is_none()).ok_or(error)
    })
}

/// The number as it stood, where it could not be read.
pub(super) fn unread(value: &Value) -> Option<&str> {
    let fields: &Map<String, Value> = value.as_object()?;
    fields.get(MARK)?.as_str().filter(|_| fields.len() == 1)
}

/// The value as JSON, but for the numbers that could not be read: they stand as they stood.
pub(super) fn text(value: &Value) -> String {
    let text = value.to_string();
    let (open, close) = (format!("{{\"{MARK}\":\""), "\"}");
    let mut pieces = text.split(&open);
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (number, rest) = piece.split_once(close).unwrap_or((piece, ""));
        plain.push_str(number);
        plain.push_str(rest);
    }
    plain
}

/// The same with an object in the place of each value that cannot be read and looks like a number. Nothing where they are too many.
fn marked(text: &str) -> Option<String> {
    let mut marked = String::with_capacity(text.len());
    let mut found = 0;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => quoted(rest),
            _ if is_of_number(first) => rest.find(|c| !is_of_number(c)).unwrap_or(rest.len()),
            other => other.len_utf8(),
        };
        let (token, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
        let is_odd = is_of_number(first) && serde_json::from_str::<Value>(token).is_err();
        if is_odd && !behind.trim_start().starts_with(':') {
            found += 1;
            if found > MOST {
                return None;
            }
            marked.push_str(&format!("{{\"{MARK}\":\"{token}\"}}"));
        } else {
            marked.push_str(token);
        }
        rest = behind;
    }
    Some(marked)
}

fn is_of_number(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_')
}

/// How long the text in quotes is that begins here, in bytes.
fn quoted(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_beside_a_number_that_nobody_reads_is_read() {
        for number in [
            "NaN",
            "nan",
            "-NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1E+999",
            "007",
            ".5",
            "5.",
            "+1",
            "0x1F",
            "None",
        ] {
            let body = format!(
                r#"{{"a":"x: NaN, \"1e400","usage":{{"n":{number} ,"m":[{number}]}},"b":7}}"#
            );
            let value = parse(&body).unwrap();
            assert_eq!(
                (&value["a"], &value["b"]),
                (&json!("x: NaN, \"1e400"), &json!(7)),
                "{number}"
            );
            let (n, m) = (&value["usage"]["n"], &value["usage"]["m"][0]);
            assert_eq!((unread(n), unread(m)), (Some(number), Some(number)));
            assert_eq!(text(&value["usage"]), format!(r#"{{"m":[{number}],"n":{number}}}"#));
        }
    }

    #[test]
    fn a_few_numbers_may_be_unreadable_and_not_all_of_a_long_list() {
        let list = |count: usize| format!("{{\"a\":[{}]}}", vec!["NaN"; count].join(","));
        assert!(parse(&list(MOST)).is_ok());
        assert!(parse(&list(MOST + 1)).is_err());
    }

    #[test]
    fn what_can_be_read_is_read_as_ever_and_what_is_no_json_at_all_is_refused_with_its_own_error() {
        let plain = r#"{"a":[1,-2.5,true,null,"\\"],"ä":{}}"#;
        let value = parse(plain).unwrap();
        assert_eq!((text(&value).as_str(), unread(&value)), (plain, None));
        for broken in [
            "",
            "NaN",
            "{",
            "<html>",
            "[NaN]",
            r#"{"a":tru"#,
            r#"{"a":NaN "b":1}"#,
            "{NaN:1}",
            r#"{"a":"NaN"#,
            "{\"a\":\"\\",
        ] {
            let expected = serde_json::from_str::<Value>(broken).unwrap_err().to_string();
            assert_eq!(parse(broken).unwrap_err().to_string(), expected, "{broken}");
        }
        for other in [json!({}), json!({ "\u{fdd0}": 1 }), json!({ "\u{fdd0}": "1", "b": 2 })] {
            assert_eq!(unread(&other), None, "{other}");
        }
    }
}
