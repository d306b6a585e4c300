//! Parameters, and how their values are written.

use muster_document::marks::{self, Piece};
use serde_json::Value;

use crate::calls::vault::{percent, plain};

/// Where a parameter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Path,
    Query,
    Header,
    Cookie,
    /// The whole body (Swagger 2).
    Body,
    /// A field of a form (Swagger 2).
    Form,
}

/// How lists and maps are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Each item by itself, under the same name.
    Repeated,
    /// One text, the items divided by this.
    Joined(&'static str),
    /// `name[field]=value`.
    Deep,
    /// As JSON.
    Json,
}

#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) required: bool,
    style: Style,
}

impl Parameter {
    pub(super) fn parse(value: &Value, swagger: bool) -> Result<Self, String> {
        let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
        let place = match text("in") {
            "path" => Place::Path,
            "query" => Place::Query,
            "header" => Place::Header,
            "cookie" => Place::Cookie,
            "body" => Place::Body,
            "formData" => Place::Form,
            other => return Err(format!("it has a parameter in {other:?}, which is no place")),
        };
        if text("type") == "file" {
            return Err(format!(
                "its parameter {:?} is a file, which cannot be sent",
                text("name")
            ));
        }
        let style =
            if swagger { swagger_style(text("collectionFormat")) } else { style(value, place) };
        let required = value.get("required").and_then(Value::as_bool).unwrap_or_default();
        Ok(Self { name: text("name").to_owned(), place, required, style })
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.name == other.name && self.place == other.place
    }

    /// The value as a part of the path, or of a cookie.
    pub(super) fn in_path(&self, value: &Value) -> String {
        encoded(&self.joined(value, ","))
    }

    /// The value as parameters of the query.
    pub(super) fn in_query(&self, value: Value) -> Vec<(String, Value)> {
        let own = |value: String| vec![(self.name.clone(), Value::String(value))];
        match (self.style, value) {
            (Style::Json, value) => own(value.to_string()),
            (Style::Repeated, Value::Array(items)) => items
                .into_iter()
                .map(|item| (self.name.clone(), Value::String(plain(&item))))
                .collect(),
            (Style::Repeated, Value::Object(fields)) => {
                fields.into_iter().map(|(key, item)| (key, Value::String(plain(&item)))).collect()
            }
            (Style::Deep, Value::Object(fields)) => fields
                .into_iter()
                .map(|(key, item)| (format!("{}[{key}]", self.name), Value::String(plain(&item))))
                .collect(),
            (Style::Joined(by), value) => own(self.joined(&value, by)),
            (Style::Repeated | Style::Deep, value) => own(plain(&value)),
        }
    }

    /// The value as one text.
    pub(super) fn joined(&self, value: &Value, by: &str) -> String {
        match value {
            _ if self.style == Style::Json => value.to_string(),
            Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(by),
            Value::Object(fields) => {
                let fields = fields.iter().flat_map(|(key, item)| [key.clone(), plain(item)]);
                fields.collect::<Vec<_>>().join(by)
            }
            other => plain(other),
        }
    }
}

fn swagger_style(format: &str) -> Style {
    match format {
        "multi" => Style::Repeated,
        "ssv" => Style::Joined(" "),
        "tsv" => Style::Joined("\t"),
        "pipes" => Style::Joined("|"),
        _ => Style::Joined(","),
    }
}

fn style(value: &Value, place: Place) -> Style {
    let explode = value.get("explode").and_then(Value::as_bool);
    if value.get("content").is_some() {
        return Style::Json;
    }
    match value.get("style").and_then(Value::as_str) {
        Some("deepObject") => Style::Deep,
        Some("spaceDelimited") if explode != Some(true) => Style::Joined(" "),
        Some("pipeDelimited") if explode != Some(true) => Style::Joined("|"),
        _ if place == Place::Query && explode != Some(false) => Style::Repeated,
        _ => Style::Joined(","),
    }
}

/// Percent-encoded, except for marks of secrets: what they stand for is encoded when it is put there.
fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for piece in marks::pieces(text) {
        match piece {
            Piece::Text(text) => encoded.push_str(&percent(text)),
            Piece::Mark(path) => {
                let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
                encoded.push_str(&marks::mark(&path));
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_the_document_says() {
        let check = |swagger: bool, how: Value, value: Value, expected: Value| {
            let mut described = json!({ "name": "x", "in": "query" });
            described.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
            let parameter = Parameter::parse(&described, swagger).unwrap();
            assert_eq!(json!(parameter.in_query(value)), expected, "{how}");
        };
        let list = || json!(["a", 2]);
        check(false, json!({}), list(), json!([["x", "a"], ["x", "2"]]));
        check(false, json!({"explode": false}), list(), json!([["x", "a,2"]]));
        check(
            false,
            json!({"style": "pipeDelimited", "explode": false}),
            list(),
            json!([["x", "a|2"]]),
        );
        check(false, json!({"style": "deepObject"}), json!({"k": true}), json!([["x[k]", "true"]]));
        check(false, json!({}), json!({"k": 1}), json!([["k", "1"]]));
        check(false, json!({"content": {}}), json!({"k": 1}), json!([["x", "{\"k\":1}"]]));
        check(true, json!({}), list(), json!([["x", "a,2"]]));
        check(true, json!({"collectionFormat": "multi"}), list(), json!([["x", "a"], ["x", "2"]]));
        check(true, json!({}), json!(7), json!([["x", "7"]]));
    }

    #[test]
    fn a_value_in_the_path_is_encoded() {
        let parameter = Parameter::parse(&json!({ "name": "x", "in": "path" }), false).unwrap();
        assert_eq!(parameter.in_path(&json!("a/b c")), "a%2Fb%20c");
        assert_eq!(parameter.in_path(&json!(["a", "b"])), "a%2Cb");
    }
}
