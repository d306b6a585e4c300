//! Whatever comes over the bus, reading it ends in a message or in an error: never in a panic, a full stack or another subject.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::sync::LazyLock;

use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::tool::v1::{CallToolRequest, ToolExecutionRequested, ToolResult};
use muster_contracts::workflow::v1::{JournalEntry, TimerFired};
use muster_contracts::{Addressed, Fault, MESSAGES, MessageType, Timer, subject, time};
use proptest::prelude::*;
use prost_reflect::DescriptorPool;
use serde_json::{Map, Value, json};

/// The deepest JSON that is read. One level more is refused before it costs anything.
const DEEPEST: usize = 127;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Any message of the contract.
fn message() -> impl Strategy<Value = &'static MessageType> {
    (0..MESSAGES.len()).prop_map(|index| MESSAGES.get(index).unwrap())
}

/// The names of a message's fields.
fn fields(message: &MessageType) -> Vec<String> {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(muster_contracts::DESCRIPTORS).unwrap());
    let descriptor = POOL.get_message_by_name(message.name).unwrap();
    descriptor.fields().map(|field| field.name().to_owned()).collect()
}

/// Numbers that fit nowhere, texts that mean something elsewhere, and values of every other kind.
fn hostile_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("NaN"),
            Just("Infinity"),
            Just("-1"),
            Just("1e400"),
            Just("99999999999999999999"),
            Just("9999-99-99T99:99:99Z"),
            Just("+292277026596-12-04T15:30:08Z"),
            Just("1970-01-01T00:00:00.0000000000001Z"),
            Just(">"),
            Just("*"),
            Just("a.b"),
            Just("$JS.API.>"),
            Just("\u{0}\r\n"),
            Just("====")
        ]
        .prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(Value::from("x".repeat(10_000))),
    ];
    leaf.prop_recursive(4, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn any_bytes_are_a_message_or_an_error(message in message(), body in prop::collection::vec(any::<u8>(), 0..512)) {
        drop(message.canonical(&body));
        drop(message.missing(&body));
        drop(serde_json::from_slice::<Fault>(&body));
    }

    #[test]
    fn fields_with_any_value_are_a_message_or_an_error(
        message in message(),
        values in prop::collection::vec(hostile_value(), 12),
        cut in any::<prop::sample::Index>(),
    ) {
        let fields: Map<String, Value> = fields(message).into_iter().zip(values).collect();
        let body = Value::Object(fields).to_string();
        if let Ok(read) = message.canonical(body.as_bytes()) {
            // What was read can be written, and read again as the same.
            prop_assert_eq!(message.canonical(read.to_string().as_bytes()).unwrap(), read);
        }
        let (half, _) = body.as_bytes().split_at(cut.index(body.len()));
        prop_assert!(message.canonical(half).is_err(), "half an object is no message");
    }

    #[test]
    fn no_text_makes_a_subject_wider(text in hostile_text(), other in hostile_text()) {
        let timer = TimerFired { execution_id: text.clone(), timer_id: other.clone(), ..Default::default() };
        let command = ToolExecutionRequested { execution_id: text.clone(), task: other.clone(), ..Default::default() };
        let call = CallToolRequest { name: text.clone(), ..Default::default() };
        let journal = JournalEntry { execution_id: text.clone(), ..Default::default() };
        let product = Deliverable { agent: text.clone(), r#type: other.clone(), feature: text, ..Default::default() };
        for (template, made) in [
            (TimerFired::SUBJECT, timer.subject()),
            (ToolExecutionRequested::SUBJECT, command.subject()),
            (CallToolRequest::SUBJECT, call.subject()),
            (JournalEntry::SUBJECT, journal.subject()),
            (Deliverable::SUBJECT, product.subject()),
            ("timer.{execution_id}.{timer_id}", timer.schedule()),
        ] {
            let Ok(made) = made else { continue };
            prop_assert!(subject::covers(&subject::pattern(template), &made), "{made:?} is outside {template}");
            let clean = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '*' | '>');
            prop_assert!(made.chars().all(clean) && !made.split('.').any(str::is_empty), "{made:?}");
        }
    }

    #[test]
    fn any_subject_can_be_taken_apart(text in hostile_text(), other in hostile_text()) {
        let mut call = CallToolRequest::default();
        call.take_from_subject(&text);
        let mut product = Deliverable::default();
        product.take_from_subject(&format!("deliverables.{text}.{other}"));
        let token = subject::derived_token(&text);
        prop_assert!(subject::token("t", &token).is_ok(), "{token:?}");
        let _ = (subject::covers(&text, &other), subject::overlaps(&text, &other), subject::pattern(&text));
    }
}

/// Text with the characters that mean something in a subject.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(".".to_owned()),
        Just("*".to_owned()),
        Just(">".to_owned()),
        Just(" ".to_owned()),
        Just("\r\n".to_owned()),
        Just("{id}".to_owned()),
        Just("x".repeat(200)),
        "[a-z0-9_-]{1,8}",
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn nested(depth: usize) -> String {
    format!(r#"{{"result": {}{}}}"#, "[".repeat(depth - 1), "]".repeat(depth - 1))
}

#[test]
fn depth_is_bounded_for_every_message_and_every_kind_of_nesting() {
    assert!(serde_json::from_str::<ToolResult>(&nested(100)).is_ok());
    assert!(serde_json::from_str::<ToolResult>(&nested(DEEPEST)).is_ok());
    for depth in [DEEPEST + 1, 100_000] {
        let fault = serde_json::from_str::<ToolResult>(&nested(depth)).unwrap_err();
        assert!(fault.to_string().contains("recursion limit"), "{fault}");
        for message in MESSAGES {
            for (open, close) in [("[", "]"), (r#"{"a":"#, "}")] {
                let read = |field: &str| {
                    let (opened, closed) = (open.repeat(depth), close.repeat(depth));
                    let body = format!(r#"{{"{field}":{opened}1{closed}}}"#);
                    message.canonical(body.as_bytes())
                };
                for field in fields(message) {
                    // Objects in objects may be messages with a field that nobody knows.
                    assert!(read(&field).is_err() || open != "[", "{}.{field}", message.name);
                }
                // That is skipped without going into it.
                assert!(read("unknown").is_ok(), "{}", message.name);
            }
        }
    }
}

#[test]
fn what_is_deep_but_allowed_fits_a_small_stack() {
    let read = || {
        let body = nested(DEEPEST);
        let result: ToolResult = serde_json::from_str(&body).unwrap();
        let copy = result.clone();
        assert_eq!(
            serde_json::to_value(&copy).unwrap(),
            serde_json::from_str::<Value>(&body).unwrap()
        );
    };
    // A quarter of what the threads of a service have.
    std::thread::Builder::new().stack_size(512 << 10).spawn(read).unwrap().join().unwrap();
}

#[test]
fn numbers_beyond_a_field_are_refused_and_never_wrapped() {
    for bad in ["-1", "4294967296", "1e10", "1.5", "1e400", "\"x\"", "[]"] {
        let body = format!(r#"{{"duration_ms": {bad}}}"#);
        assert!(serde_json::from_str::<ToolResult>(&body).is_err(), "{bad}");
    }
    for (free, read) in [
        ("9223372036854775807", json!(i64::MAX)),
        ("18446744073709551615", json!(u64::MAX)),
        ("-9223372036854775808", json!(i64::MIN)),
    ] {
        let result: ToolResult = serde_json::from_str(&format!(r#"{{"result": {free}}}"#)).unwrap();
        assert_eq!(result.result.unwrap().0, read);
    }
    assert!(serde_json::from_str::<ToolResult>(r#"{"result": 1e400}"#).is_err());
}

#[test]
fn impossible_times_are_the_epoch_or_an_error() {
    for seconds in [i64::MIN, i64::MAX] {
        for nanos in [i32::MIN, -1, i32::MAX] {
            let stamp = muster_contracts::Timestamp { seconds, nanos };
            assert_eq!(time(Some(&stamp)).timestamp(), 0);
        }
    }
}
