//! `call: asyncapi`: messages on the channels that a document describes.

use muster_workflow::{Definition, Effect, Input, Need, Status};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};
use crate::events::event;

/// An AsyncAPI 3 document, as it stands in a workflow when it was fetched.
fn channels() -> Value {
    json!({
        "asyncapi": "3.0.0",
        "servers": {"bus": {"host": "bus:4222", "protocol": "nats"}, "web": {"host": "web", "protocol": "ws"}},
        "channels": {
            "notes": {"address": "notes.sent", "servers": [{"$ref": "#/servers/bus"}]},
            "rooms": {"address": "rooms.{room}"},
            "pages": {"address": "pages", "servers": [{"$ref": "#/servers/web"}]},
            "void": {"address": null},
        },
        "operations": {
            "getNotes": {"action": "receive", "channel": {"$ref": "#/channels/notes"}},
            "getRooms": {"action": "receive", "channel": {"$ref": "#/channels/rooms"}},
        },
    })
}

/// A task that calls with these arguments beside the document.
fn task(with: &Value, channels: &Value) -> String {
    let mut with = with.clone();
    with["document"] =
        json!({"endpoint": "https://example.com/asyncapi.json", "content": channels});
    format!("- notes: {{call: asyncapi, with: {with}}}")
}

fn subscribe(subscription: Value) -> Driver {
    let with = json!({"operation": "getNotes", "subscription": subscription});
    Driver::start(&task(&with, &channels()), json!({"user": 7}))
}

fn flaw(with: &Value, channels: &Value) -> String {
    Definition::parse(&document(&task(with, channels))).unwrap_err().to_string()
}

impl Driver {
    /// A note on its channel; true if that changed anything.
    fn note(&mut self, position: u64, payload: Value) -> bool {
        let event = event("notes.sent", payload, json!({"correlationid": "c-1", "room": "blue"}));
        self.input(&Input::Event { task: Some("/do/0/notes".to_owned()), position, event })
    }

    fn payloads(&self) -> Vec<Value> {
        let messages = self.output().as_array().unwrap().iter();
        messages.map(|message| message["payload"].clone()).collect()
    }
}

#[test]
fn a_message_is_an_event_whose_type_is_its_channel() {
    let message = json!({"payload": {"pet": "${ .pet }"}, "headers": {"priority": "high"}});
    for with in [
        json!({"operation": "getNotes", "server": {"name": "bus"}, "message": message}),
        json!({"channel": "notes", "protocol": "nats", "message": message}),
    ] {
        let driver = Driver::start(&task(&with, &channels()), json!({"pet": 3}));
        assert_eq!(driver.status(), Status::Completed, "{with}");
        let emitted = driver.told.iter().find_map(|effect| match effect {
            Effect::Emit { event, .. } => Some(event.clone()),
            _ => None,
        });
        let event = emitted.unwrap();
        assert_eq!(event["type"], "notes.sent");
        assert_eq!(event["source"], "/workflows/tests/example");
        assert_eq!((&event["data"], &event["priority"]), (&json!({"pet": 3}), &json!("high")));
    }
}

#[test]
fn a_subscription_consumes_an_amount_of_the_messages_that_its_filter_wants() {
    let filter = "${ .payload.to == $input.user and .headers.room == \"blue\" and .correlationId == \"c-1\" }";
    let mut driver = subscribe(json!({"filter": filter, "consume": {"amount": 2}}));
    assert!(driver.note(1, json!({"to": 7, "n": 1})));
    assert!(!driver.note(2, json!({"to": 8})));
    assert!(!driver.note(3, json!("no map")));
    assert_eq!(driver.status(), Status::Waiting);
    assert!(driver.note(4, json!({"to": 7, "n": 2})));
    assert_eq!(driver.payloads(), [json!({"to": 7, "n": 1}), json!({"to": 7, "n": 2})]);
    assert_eq!(driver.output()[0]["headers"]["room"], "blue");
    driver.check_replay();
}

#[test]
fn a_subscription_ends_by_its_conditions() {
    let mut driver = subscribe(json!({"consume": {"while": "${ length < 2 }"}}));
    driver.note(1, json!(1));
    assert_eq!(driver.status(), Status::Waiting);
    driver.note(2, json!(2));
    assert_eq!(driver.payloads(), [json!(1), json!(2)]);
    let mut driver = subscribe(json!({"consume": {"until": "${ any(.payload == 2) }"}}));
    driver.note(1, json!(1));
    driver.note(2, json!(2));
    assert_eq!(driver.payloads(), [json!(1), json!(2)]);
    // It is asked before each message, the first one included.
    let driver = subscribe(json!({"consume": {"until": "${ $input.user == 7 }"}}));
    assert!(driver.payloads().is_empty());
}

#[test]
fn a_subscription_ends_with_its_time_and_keeps_what_it_has() {
    let consume = json!({"amount": 5, "for": {"minutes": 30}});
    let mut driver = subscribe(json!({"consume": consume}));
    driver.note(1, json!(1));
    driver.check_replay();
    driver.fire();
    assert_eq!(driver.payloads(), [json!(1)]);
    assert!(!driver.note(2, json!(2)));
    driver.check_replay();
    // Enough before its time: nothing is left of the timer.
    let mut driver = subscribe(json!({"consume": {"amount": 1, "for": "PT30M"}}));
    driver.note(1, json!(1));
    assert_eq!((driver.payloads(), driver.timers.len()), (vec![json!(1)], 0));
}

#[test]
fn each_message_has_its_turn() {
    let each = json!({"item": "message", "do": [{"double": {"set": "${ $message.payload * 2 }"}}]});
    let mut driver = subscribe(json!({"consume": {"amount": 2}, "foreach": each}));
    driver.note(1, json!(1));
    driver.note(2, json!(2));
    assert_eq!(*driver.output(), json!([2, 4]));
    driver.check_replay();
}

#[test]
fn a_document_of_version_2_names_its_channels_by_their_addresses() {
    let channels = json!({
        "asyncapi": "2.6.0",
        "servers": {"bus": {"url": "nats://bus", "protocol": "nats"}},
        "channels": {"notes.sent": {"subscribe": {"operationId": "getNotes"}, "servers": ["bus"]}},
    });
    for place in [json!({"operation": "getNotes"}), json!({"channel": "notes.sent"})] {
        let mut with = place;
        with["subscription"] = json!({"consume": {"amount": 1}});
        let mut driver = Driver::start(&task(&with, &channels), Value::Null);
        assert!(driver.note(1, json!(1)));
        assert_eq!(driver.payloads(), [json!(1)]);
    }
}

#[test]
fn the_document_is_fetched_and_becomes_a_part_of_the_workflow() {
    let text = document(
        "- notes: {call: asyncapi, with: {document: {endpoint: 'https://example.com/a.json'}, operation: getNotes, message: {payload: {}}}}",
    );
    let parsed = Definition::parse(&text).unwrap();
    let external = parsed.externals().first().unwrap().clone();
    assert_eq!(
        (&external.need, external.uri.as_str()),
        (&Need::Channels, "https://example.com/a.json")
    );
    let mut document = parsed.document().clone();
    let content = external.read(&channels().to_string()).unwrap();
    external.pin(&mut document, content).unwrap();
    let pinned = definition(&document.to_string());
    assert!(pinned.externals().is_empty());
    let mut driver = Driver::new(pinned);
    driver.input(&Input::Start { input: Value::Null });
    assert_eq!(driver.status(), Status::Completed);
}

#[test]
fn what_is_wrong_is_told_with_what_there_is() {
    let some = json!({"payload": {}});
    let check = |with: Value, words: &[&str]| {
        let flaw = flaw(&with, &channels());
        for word in words {
            assert!(flaw.contains(word), "no {word:?} in {flaw}");
        }
    };
    check(json!({"operation": "x", "message": some}), &["`x` is not in `operations`", "getNotes"]);
    check(json!({"channel": "x", "message": some}), &["`x` is not in `channels`", "notes, "]);
    check(json!({"operation": "getRooms", "message": some}), &["rooms.{room}", "parameters"]);
    check(json!({"channel": "void", "message": some}), &["no address"]);
    check(json!({"channel": "pages", "message": some}), &["`web` speaks `ws`", "nats"]);
    check(
        json!({"channel": "notes", "server": {"name": "web"}, "message": some}),
        &["not on `web`, but on bus"],
    );
    check(json!({"channel": "notes", "protocol": "kafka", "message": some}), &["kafka", "nats"]);
    check(json!({"channel": "notes"}), &["either `message` or `subscription`"]);
    check(json!({"channel": "notes", "message": {"headers": {"Type": 1}}}), &["`Type` cannot be"]);
    let consume =
        |consume: Value| json!({"channel": "notes", "subscription": {"consume": consume}});
    check(consume(json!({"amount": 0})), &["`amount` must be", "the number 0"]);
    check(consume(json!({"amount": 1, "until": "${ true }"})), &["exactly one of `amount`"]);
    check(consume(json!({})), &["exactly one of `amount`"]);
    let with = json!({"channel": "notes", "message": some});
    assert!(flaw(&with, &json!({"asyncapi": "1.2.0"})).contains("versions 2 and 3"));
    assert!(flaw(&with, &json!([])).contains("versions 2 and 3"));
}
