//! Events of the contract and of the engine.

use muster_contracts::workflow::v1::CloudEvent;
use muster_contracts::{Json, JsonObject};
use serde_json::{Map, Value};

/// An event in its structured JSON form.
pub(crate) fn structured(event: &CloudEvent) -> Value {
    let mut all = Map::new();
    let mut text = |name: &str, value: &str| {
        if !value.is_empty() {
            all.insert(name.to_owned(), Value::String(value.to_owned()));
        }
    };
    text("specversion", if event.specversion.is_empty() { "1.0" } else { &event.specversion });
    text("id", &event.id);
    text("source", &event.source);
    text("type", &event.r#type);
    text("subject", &event.subject);
    text("time", &event.time);
    text("datacontenttype", &event.datacontenttype);
    text("dataschema", &event.dataschema);
    text("data_base64", &event.data_base64);
    for (name, value) in event.extensions.iter().flat_map(|extensions| &extensions.0) {
        // An extension cannot stand for what the specification itself names.
        all.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if let Some(Json(data)) = &event.data {
        all.insert("data".to_owned(), data.clone());
    }
    Value::Object(all)
}

/// An event that a task of an execution tells the world of.
pub(crate) fn emitted(execution_id: &str, task: &str, event: &Value) -> CloudEvent {
    let Value::Object(mut all) = event.clone() else { return CloudEvent::default() };
    let mut text = |name: &str| match all.remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    CloudEvent {
        specversion: text("specversion"),
        id: text("id"),
        source: text("source"),
        r#type: text("type"),
        subject: text("subject"),
        time: text("time"),
        datacontenttype: text("datacontenttype"),
        dataschema: text("dataschema"),
        data_base64: String::new(),
        data: all.remove("data").map(Json),
        extensions: (!all.is_empty()).then_some(JsonObject(all)),
        execution_id: execution_id.to_owned(),
        task: task.to_owned(),
    }
}

/// A signal as an event, whose type is the signal's name.
pub(crate) fn signal(execution_id: &str, name: &str, id: &str, payload: Option<Json>) -> Value {
    structured(&CloudEvent {
        id: id.to_owned(),
        source: format!("/v1/executions/{execution_id}/signals"),
        r#type: name.to_owned(),
        data: payload,
        ..CloudEvent::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_is_the_same_after_its_way_over_the_bus() {
        let event = json!({
            "specversion": "1.0", "id": "1", "source": "https://example.com", "type": "a", "subject": "s",
            "time": "2026-01-01T00:00:00Z", "roomid": 7, "data": {"n": null},
        });
        assert_eq!(structured(&emitted("e1", "/do/0/a", &event)), event);
        let without = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a"});
        assert_eq!(structured(&emitted("e1", "/do/0/a", &without)), without);
    }

    #[test]
    fn an_extension_replaces_no_attribute() {
        let event = CloudEvent {
            id: "1".into(),
            source: "s".into(),
            r#type: "a".into(),
            extensions: Some(JsonObject::wrap(json!({"type": "forged", "x": 1}))),
            ..CloudEvent::default()
        };
        assert_eq!(
            structured(&event),
            json!({"specversion": "1.0", "id": "1", "source": "s", "type": "a", "x": 1})
        );
    }
}
