//! The attributes of an event that a workflow emits.

use chrono::DateTime;
use serde_json::{Map, Value};

use crate::{Error, ErrorType};

/// Attributes of the `CloudEvents` specification that are texts.
const TEXTS: [&str; 7] =
    ["id", "source", "type", "subject", "time", "datacontenttype", "dataschema"];

/// Whether a name can be an attribute's: lower-case letters and digits.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Checks what expressions gave: an event must be one that any reader of events takes.
pub(crate) fn check_attributes(event: &Map<String, Value>) -> Result<(), Error> {
    for (name, value) in event {
        let wrong = |right: &str| {
            let detail = format!("emit: `{name}` is {value:.100}, but it must be {right}");
            Err(Error::new(ErrorType::Expression, detail))
        };
        match (name.as_str(), value) {
            ("data", _) => {}
            ("specversion", Value::String(version)) if version == "1.0" => {}
            ("specversion", _) => return wrong("\"1.0\""),
            ("time", Value::String(time)) => {
                if DateTime::parse_from_rfc3339(time).is_err() {
                    return wrong("a time such as 2026-01-31T12:00:00Z");
                }
            }
            ("source" | "dataschema", Value::String(uri)) => {
                if uri.is_empty() || uri.chars().any(|c| c.is_whitespace() || c.is_control()) {
                    return wrong("a URI such as https://example.com/orders");
                }
            }
            (known, Value::String(text)) if TEXTS.contains(&known) => {
                if text.is_empty() || text.chars().any(char::is_control) {
                    return wrong("a text that is not empty, without control characters");
                }
            }
            (known, _) if TEXTS.contains(&known) => return wrong("a text"),
            (_, Value::String(_) | Value::Bool(_) | Value::Number(_)) => {}
            _ => return wrong("a text, a number, true or false, as every attribute but `data`"),
        }
    }
    Ok(())
}
