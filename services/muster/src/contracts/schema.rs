//! JSON Schema 2020-12 for each message: what a body on the bus looks like.

use anyhow::Result;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::Document;
use super::description::{Contract, field_comment, has, is_sealed, message_comment, parts, tokens};

/// A file for each message, with the messages that it is made of.
pub(super) fn render(contract: &Contract) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for area in contract.areas() {
        for message in &area.messages {
            let path = format!("schemas/{}/{}.json", area.name, message.name());
            let text = serde_json::to_string_pretty(&sorted(document(message)))? + "\n";
            documents.push(Document { path, text });
        }
    }
    Ok(documents)
}

/// The schema of one message, on its own.
pub(super) fn document(message: &MessageDescriptor) -> Value {
    let mut schema = object(message, "#/$defs/");
    let definitions: Map<String, Value> = parts(message)
        .iter()
        .skip(1)
        .map(|part| (part.full_name().to_owned(), object(part, "#/$defs/")))
        .collect();
    if let Value::Object(schema) = &mut schema {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("$id".to_owned(), json!(format!("urn:muster:{}", message.full_name())));
        if !definitions.is_empty() {
            schema.insert("$defs".to_owned(), Value::Object(definitions));
        }
    }
    schema
}

/// The schema of a message's body; other messages are found under `references`.
pub(super) fn object(message: &MessageDescriptor, references: &str) -> Value {
    let tokens = tokens(message.full_name());
    let mut properties = Map::new();
    let mut required = Vec::new();
    for field in message.fields() {
        let token = tokens.contains(field.name());
        // A reader takes a token that the body lacks from the subject.
        if has(&field, "required") && !token {
            required.push(json!(field.name()));
        }
        properties.insert(field.name().to_owned(), property(&field, token, references));
    }
    let mut schema = Map::from_iter([
        ("title".to_owned(), json!(message.full_name())),
        ("description".to_owned(), json!(message_comment(message))),
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), Value::Object(properties)),
    ]);
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::Array(required));
    }
    Value::Object(schema)
}

fn property(field: &FieldDescriptor, token: bool, references: &str) -> Value {
    let mut schema = if field.is_map() {
        let values = match field.kind() {
            Kind::Message(entry) => entry.get_field_by_name("value"),
            _ => None,
        };
        let values = values.map_or(json!(true), |values| single(&values.kind(), references));
        json!({ "type": "object", "additionalProperties": values })
    } else if field.is_list() {
        json!({ "type": "array", "items": single(&field.kind(), references) })
    } else {
        single(&field.kind(), references)
    };
    if is_sealed(field) {
        let sealed = json!({ "type": "string", "pattern": "^sealed:v1:" });
        schema = json!({ "anyOf": [schema, sealed], "x-muster-sealed": true });
    }
    let mut about = field_comment(field);
    if token {
        about = format!("{about} A token of the subject, which has it where the body lacks it.");
    }
    if let Value::Object(schema) = &mut schema {
        if !about.trim().is_empty() {
            schema.insert("description".to_owned(), json!(about.trim()));
        }
        if has(field, "id") {
            schema.insert("pattern".to_owned(), json!("^[a-z0-9][a-z0-9_-]{0,62}$"));
        } else if has(field, "required") && field.kind() == Kind::String {
            schema.insert("minLength".to_owned(), json!(1));
        }
    }
    schema
}

/// A value as proto3 JSON writes it: 64-bit integers as text.
fn single(kind: &Kind, references: &str) -> Value {
    let text_integer = |pattern: &str| json!({ "type": ["string", "integer"], "pattern": pattern });
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Double | Kind::Float => json!({ "type": "number" }),
        Kind::Uint32 | Kind::Fixed32 => {
            json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            json!({ "type": "integer", "minimum": i32::MIN, "maximum": i32::MAX })
        }
        Kind::Uint64 | Kind::Fixed64 => text_integer("^[0-9]+$"),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => text_integer("^-?[0-9]+$"),
        Kind::Enum(values) => {
            let names: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
            json!({ "type": "string", "enum": names })
        }
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!({ "type": "string", "format": "date-time" }),
            "google.protobuf.Struct" => json!({ "type": "object" }),
            "google.protobuf.Value" => json!({}),
            ours => json!({ "$ref": format!("{references}{ours}") }),
        },
    }
}

/// The same with its keys in their order, whatever order this build keeps.
pub(super) fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}
