//! CloudEvents 1.0 over HTTP: structured, in batches, and binary.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::DateTime;
use muster_contracts::{Json, JsonObject, workflow::v1::CloudEvent};
use muster_document::Bounds;
use serde_json::{Map, Value};

use crate::error::Error;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// Events of one request.
const MOST: usize = 1_000;
/// Letters of an attribute's name.
const NAME: usize = 64;
/// Bytes of an attribute's text.
const TEXT: usize = 4_096;
/// How deep the data may be nested.
const BOUNDS: Bounds = Bounds { bytes: 8 << 20, values: usize::MAX, depth: 120 };

/// The events of a request.
pub(crate) fn read(headers: &HeaderMap, body: &[u8]) -> Result<Vec<CloudEvent>, Error> {
    let media = media(headers);
    match media.as_str() {
        BATCH => {
            let Value::Array(events) = json(body)? else {
                return Err(Error::invalid(format!(
                    "the body of {BATCH} must be a list of events"
                )));
            };
            if events.len() > MOST {
                let count = events.len();
                return Err(Error::invalid(format!("the body has {count} events, {MOST} at most")));
            }
            let events = events.into_iter().enumerate();
            events.map(|(index, event)| structured(event, &format!("event {index}: "))).collect()
        }
        STRUCTURED => Ok(vec![structured(json(body)?, "")?]),
        other if other.starts_with("application/cloudevents") => Err(Error::MediaType {
            got: other.to_owned(),
            accepted: format!("{STRUCTURED} and {BATCH}"),
        }),
        _ if headers.contains_key("ce-specversion") || headers.contains_key("ce-type") => {
            Ok(vec![binary(headers, &media, body)?])
        }
        other => Err(Error::MediaType {
            got: if other.is_empty() { "not there".to_owned() } else { other.to_owned() },
            accepted: format!(
                "{STRUCTURED}, {BATCH}, or any type with the headers ce-specversion, ce-id, ce-source and ce-type"
            ),
        }),
    }
}

fn media(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = given.unwrap_or_default().split(';').next().unwrap_or_default();
    media.trim().to_ascii_lowercase()
}

fn text(body: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(body)
        .map_err(|error| Error::Malformed { format: "UTF-8", reason: format!("{error}") })
}

fn json(body: &[u8]) -> Result<Value, Error> {
    muster_document::read_json(text(body)?, &BOUNDS)
        .map_err(|error| Error::Malformed { format: "JSON", reason: error.to_string() })
}

fn structured(event: Value, place: &str) -> Result<CloudEvent, Error> {
    let Value::Object(mut all) = event else {
        return Err(Error::invalid(format!("{place}an event must be an object, not {event:.100}")));
    };
    let data = all.remove("data");
    let data_base64 = match all.remove("data_base64") {
        None => String::new(),
        Some(Value::String(text)) if BASE64_STANDARD.decode(&text).is_ok() => text,
        Some(other) => {
            let text = format!("{place}`data_base64` is {other:.100}, but it must be base64");
            return Err(Error::invalid(text));
        }
    };
    if data.is_some() && !data_base64.is_empty() {
        let text = format!("{place}only one of `data` and `data_base64` can be there");
        return Err(Error::invalid(text));
    }
    let event = attributes(all, place)?;
    Ok(CloudEvent { data: data.map(Json), data_base64, ..event })
}

fn binary(headers: &HeaderMap, media: &str, body: &[u8]) -> Result<CloudEvent, Error> {
    let mut all = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let value = decoded(name, value)?;
        if all.insert(attribute.to_owned(), Value::String(value)).is_some() {
            return Err(Error::invalid(format!("the header `{name}` stands twice")));
        }
    }
    if let Some(content_type) = headers.get(header::CONTENT_TYPE) {
        let content_type = decoded(&header::CONTENT_TYPE, content_type)?;
        all.insert("datacontenttype".to_owned(), Value::String(content_type));
    }
    let mut event = attributes(all, "")?;
    if body.is_empty() {
        return Ok(event);
    }
    if media.ends_with("/json") || media.ends_with("+json") {
        event.data = Some(Json(json(body)?));
    } else if let (true, Ok(text)) = (media.starts_with("text/"), text(body)) {
        event.data = Some(Json(Value::String(text.to_owned())));
    } else {
        event.data_base64 = BASE64_STANDARD.encode(body);
    }
    Ok(event)
}

/// The value of a header, in which other letters than ASCII stand as `%C3%A9`.
fn decoded(name: &HeaderName, value: &HeaderValue) -> Result<String, Error> {
    let (mut bytes, mut rest) = (Vec::with_capacity(value.len()), value.as_bytes());
    while let Some((first, others)) = rest.split_first() {
        let escaped = others.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped =
            escaped.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = others.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_not_utf8| {
        Error::invalid(format!(
            "the header `{name}` is not UTF-8, percent-encoded where it is not ASCII"
        ))
    })
}

/// Everything but the data.
fn attributes(mut all: Map<String, Value>, place: &str) -> Result<CloudEvent, Error> {
    // Null says the same as nothing.
    all.retain(|_, value| !value.is_null());
    for (name, value) in &all {
        check(name, value).map_err(|right| {
            let text = format!("{place}`{name:.80}` is {value:.100}, but it must be {right}");
            Error::invalid(text)
        })?;
    }
    let mut text = |name: &str| match all.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let event = CloudEvent {
        specversion: text("specversion"),
        id: text("id"),
        source: text("source"),
        r#type: text("type"),
        subject: text("subject"),
        time: text("time"),
        datacontenttype: text("datacontenttype"),
        dataschema: text("dataschema"),
        ..CloudEvent::default()
    };
    let required = [
        ("specversion", &event.specversion),
        ("id", &event.id),
        ("source", &event.source),
        ("type", &event.r#type),
    ];
    if let Some((name, _)) = required.iter().find(|(_, value)| value.is_empty()) {
        let text =
            format!("{place}`{name}` is missing: an event has specversion, id, source and type");
        return Err(Error::invalid(text));
    }
    let extensions = (!all.is_empty()).then_some(JsonObject(all));
    Ok(CloudEvent { extensions, ..event })
}

/// What an attribute must be, where it is not.
fn check(name: &str, value: &Value) -> Result<(), &'static str> {
    let good = |name: &str| {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !name.is_empty() && name.len() <= NAME && name.bytes().all(letter)
    };
    if !good(name) {
        return Err("named with lower-case letters and digits, 64 at most");
    }
    match (name, value) {
        (_, Value::String(text)) if text.len() > TEXT => Err("4096 bytes at most"),
        ("specversion", Value::String(version)) if version == "1.0" => Ok(()),
        ("specversion", _) => Err("\"1.0\""),
        ("time", Value::String(time)) if DateTime::parse_from_rfc3339(time).is_ok() => Ok(()),
        ("time", _) => Err("a time such as 2026-01-31T12:00:00Z"),
        ("source" | "dataschema", Value::String(uri))
            if !uri.is_empty() && !uri.chars().any(|c| c.is_whitespace() || c.is_control()) =>
        {
            Ok(())
        }
        ("source" | "dataschema", _) => Err("a URI such as https://example.com/orders"),
        ("id" | "type" | "subject" | "datacontenttype", Value::String(text))
            if !text.is_empty() && !text.chars().any(char::is_control) =>
        {
            Ok(())
        }
        ("id" | "type" | "subject" | "datacontenttype", _) => {
            Err("a text that is not empty, without control characters")
        }
        (_, Value::String(_) | Value::Bool(_) | Value::Number(_)) => Ok(()),
        _ => Err("a text, a number, true or false, as every attribute but `data`"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(headers: &[(&'static str, &str)], body: &str) -> Result<Vec<CloudEvent>, String> {
        let pairs = headers.iter().map(|(name, value)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        read(&pairs.collect(), body.as_bytes()).map_err(|error| error.to_string())
    }

    const ONE: &str = r#"{"specversion": "1.0", "id": "1", "source": "/tests", "type": "order.placed", "roomid": 7, "data": {"n": 1}}"#;

    #[test]
    fn an_event_is_read_in_every_mode() {
        let event = CloudEvent {
            specversion: "1.0".into(),
            id: "1".into(),
            source: "/tests".into(),
            r#type: "order.placed".into(),
            data: Some(Json(json!({"n": 1}))),
            extensions: Some(JsonObject::wrap(json!({"roomid": 7}))),
            ..CloudEvent::default()
        };
        let structured =
            request(&[("content-type", "application/cloudevents+json; charset=utf-8")], ONE);
        assert_eq!(structured, Ok(vec![event.clone()]));
        let batch = format!("[{ONE}, {ONE}]");
        let batch = request(&[("content-type", "application/cloudevents-batch+json")], &batch);
        assert_eq!(batch, Ok(vec![event.clone(), event.clone()]));
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", "1"),
            ("ce-source", "/tests"),
            ("ce-type", "order.placed"),
            ("ce-roomid", "caf%C3%A9 100%"),
        ];
        let mut with_type = headers.to_vec();
        with_type.push(("content-type", "application/json"));
        let binary = CloudEvent {
            datacontenttype: "application/json".into(),
            extensions: Some(JsonObject::wrap(json!({"roomid": "café 100%"}))),
            ..event
        };
        assert_eq!(request(&with_type, "{\"n\": 1}"), Ok(vec![binary.clone()]));
        let bytes = CloudEvent {
            datacontenttype: String::new(),
            data: None,
            data_base64: "AQI=".into(),
            ..binary.clone()
        };
        assert_eq!(request(&headers, "\u{1}\u{2}"), Ok(vec![bytes.clone()]));
        let empty = CloudEvent { data_base64: String::new(), ..bytes };
        assert_eq!(request(&headers, ""), Ok(vec![empty]));
    }

    #[test]
    fn what_is_no_event_is_told_with_its_value() {
        let check = |body: Value, expected: &str| {
            let told = request(&[("content-type", STRUCTURED)], &body.to_string()).unwrap_err();
            assert!(told.contains(expected), "{told}");
        };
        let with = |name: &str, value: Value| {
            let mut event: Value = serde_json::from_str(ONE).unwrap();
            event[name] = value;
            event
        };
        check(json!([1]), "an event must be an object, not [1]");
        check(
            with("id", Value::Null),
            "`id` is missing: an event has specversion, id, source and type",
        );
        check(with("id", json!("")), "`id` is \"\", but it must be a text that is not empty");
        check(with("type", json!(7)), "`type` is 7, but it must be a text");
        check(
            with("specversion", json!("0.3")),
            "`specversion` is \"0.3\", but it must be \"1.0\"",
        );
        check(with("source", json!("a b")), "`source` is \"a b\", but it must be a URI such as");
        check(with("time", json!("noon")), "`time` is \"noon\", but it must be a time such as");
        check(
            with("roomId", json!("x")),
            "`roomId` is \"x\", but it must be named with lower-case letters",
        );
        check(with("room", json!({})), "`room` is {}, but it must be a text, a number");
        check(with("data_base64", json!("AQI=")), "only one of `data` and `data_base64`");
        let told = request(&[("content-type", "application/json")], ONE).unwrap_err();
        assert!(told.contains("application/json") && told.contains(STRUCTURED), "{told}");
        let told = request(&[("content-type", "application/cloudevents+xml")], ONE).unwrap_err();
        assert!(told.contains("application/cloudevents+xml"), "{told}");
        let told = request(&[("content-type", BATCH)], ONE).unwrap_err();
        assert!(told.contains("must be a list of events"), "{told}");
        let told = request(&[("content-type", BATCH)], "[{}]").unwrap_err();
        assert!(told.starts_with("event 0: `specversion` is missing"), "{told}");
    }
}
