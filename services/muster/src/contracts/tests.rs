//! The committed documents are fresh, and they are right about real messages.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use muster_contracts::MessageType;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::description::{Contract, fields_of, has};
use super::{Document, asyncapi, events, schema, schemas};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn is_fresh(documents: &[Document]) {
    let mut stale = Vec::new();
    for document in documents {
        if std::fs::read_to_string(docs().join(&document.path)).ok().as_ref()
            != Some(&document.text)
        {
            stale.push(document.path.as_str());
        }
    }
    assert!(
        stale.is_empty(),
        "{stale:?} are not what proto/ says: run `cargo run -p muster -- contracts write`"
    );
}

#[test]
fn the_asyncapi_document_is_fresh() {
    is_fresh(&asyncapi().unwrap());
}

#[test]
fn the_page_of_events_is_fresh() {
    is_fresh(&events().unwrap());
}

#[test]
fn the_schemas_are_fresh_and_there_is_one_for_each_message() {
    let documents = schemas().unwrap();
    is_fresh(&documents);
    let expected: BTreeSet<PathBuf> =
        documents.iter().map(|document| docs().join(&document.path)).collect();
    let mut found = BTreeSet::new();
    for area in std::fs::read_dir(docs().join("schemas")).unwrap() {
        found.extend(
            std::fs::read_dir(area.unwrap().path()).unwrap().map(|file| file.unwrap().path()),
        );
    }
    assert_eq!(found, expected);
    assert_eq!(documents.len(), muster_contracts::MESSAGES.len());
}

#[test]
fn documents_do_not_depend_on_the_run() {
    let contract = Contract::load().unwrap();
    assert_eq!(
        asyncapi::render(&contract).unwrap(),
        asyncapi::render(&Contract::load().unwrap()).unwrap()
    );
    assert_eq!(
        events::render(&contract).unwrap(),
        events::render(&Contract::load().unwrap()).unwrap()
    );
}

#[test]
fn every_area_and_every_message_says_what_it_is() {
    for area in Contract::load().unwrap().areas() {
        assert!(!area.about.is_empty(), "{}", area.name);
        for message in area.messages {
            assert!(
                !super::description::message_comment(&message).is_empty(),
                "{}",
                message.full_name()
            );
        }
    }
}

/// A body with every field set, as another language would write it.
fn sample(message: &MessageDescriptor, depth: usize) -> Value {
    let fields = message.fields().map(|field| (field.name().to_owned(), value(&field, depth)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn value(field: &FieldDescriptor, depth: usize) -> Value {
    if field.is_map() {
        return json!({ "key": "value" });
    }
    let one = match field.kind() {
        Kind::Bool => json!(true),
        Kind::String => json!("a-1"),
        Kind::Bytes => json!("AAEC"),
        Kind::Double | Kind::Float => json!(1.5),
        Kind::Uint64 | Kind::Int64 => json!("9007199254740993"),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!("2026-01-02T03:04:05.678Z"),
            "google.protobuf.Struct" => json!({ "a": [1, null, { "b": i64::MAX }] }),
            "google.protobuf.Value" => json!([1, "x", { "y": true }]),
            _ if depth == 0 => json!({}),
            _ => sample(&message, depth - 1),
        },
        _ => json!(7),
    };
    if field.is_list() { json!([one.clone(), one]) } else { one }
}

fn check(message: &MessageDescriptor, body: &Value) {
    let message_type = MessageType::named(message.full_name()).unwrap();
    let encoded = message_type.canonical(body.to_string().as_bytes()).unwrap();
    let validator = jsonschema::validator_for(&schema::document(message)).unwrap();
    for body in [body, &encoded] {
        let errors: Vec<String> =
            validator.iter_errors(body).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{}: {errors:?}\n{body:#}", message.full_name());
    }
}

#[test]
fn every_message_as_it_is_encoded_fits_its_schema() {
    for area in Contract::load().unwrap().areas() {
        for message in area.messages {
            check(&message, &sample(&message, 3));
        }
    }
}

#[test]
fn what_the_bus_refuses_for_a_missing_field_its_schema_refuses_as_well() {
    for area in Contract::load().unwrap().areas() {
        for message in area.messages {
            let message_type = MessageType::named(message.full_name()).unwrap();
            let tokens = super::description::tokens(message.full_name());
            let validator = jsonschema::validator_for(&schema::document(&message)).unwrap();
            let required = message.fields().filter(|field| has(field, "required"));
            for field in required.filter(|field| !tokens.contains(field.name())) {
                let mut body = sample(&message, 3);
                body.as_object_mut().unwrap().remove(field.name());
                let missing = message_type.missing(body.to_string().as_bytes()).unwrap();
                assert_eq!(missing.as_deref(), Some(field.name()), "{}", message.full_name());
                assert!(
                    !validator.is_valid(&body),
                    "{} without {}",
                    message.full_name(),
                    field.name()
                );
            }
        }
    }
}

#[test]
fn a_channel_has_every_subject_and_its_tokens() {
    let document: Value =
        serde_yaml_ng::from_str(&asyncapi::render(&Contract::load().unwrap()).unwrap()).unwrap();
    let channels = document["channels"].as_object().unwrap();
    for entry in muster_contracts::CATALOGUE {
        let channel =
            channels.values().find(|channel| channel["address"] == entry.subject).unwrap();
        let name = asyncapi::short(entry.message);
        assert!(channel["messages"][name].is_object(), "{}", entry.subject);
        for token in fields_of(entry.subject) {
            assert!(channel["parameters"][token].is_object(), "{}", entry.subject);
        }
    }
}
