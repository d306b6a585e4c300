//! What nobody should send.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, FieldDescriptor, Kind};
use serde_json::{Map, Value, json};

/// Texts that mean something in a subject, a key or a path, or are too long for any.
const HOSTILE_IDS: [&str; 8] =
    ["*", ">", "a.b", "a b", "../../x", "$JS.API.>", "\r\n\u{0}", "ä€😀"];

pub(crate) type Headers = &'static [(&'static str, &'static str)];

pub(crate) const NO_HEADERS: Headers = &[];

/// Headers that lie about the body or say what cannot be.
pub(crate) const HEADERS: [Headers; 8] = [
    &[("traceparent", "00-zz-zz-zz"), ("ce-id", " > * . "), ("Muster-Schema", "nonsense/v999")],
    &[("Content-Encoding", "zstd")],
    &[("Content-Encoding", "br")],
    &[("Muster-Claim", "../../x"), ("Muster-Claim-Size", "-1"), ("Muster-Claim-Sha256", "zz")],
    &[("Muster-Claim", "nothing/here"), ("Muster-Claim-Size", "99999999999999999999")],
    &[("Muster-Sealed", "v9")],
    &[("Muster-Execution", "a.*"), ("Muster-Signs", "maybe"), ("Nats-Service-Error-Code", "999")],
    &[("Accept-Encoding", ",,,;q=9"), ("ce-specversion", "-1"), ("Content-Type", "text/html")],
];

/// Bodies for a message: those that are wrong for every message, and those that are made for this one.
pub(crate) fn bodies(message: &str) -> Vec<Vec<u8>> {
    let deep = |depth: usize, field: &str| {
        format!("{{\"{field}\":{}{}}}", "[".repeat(depth), "]".repeat(depth)).into_bytes()
    };
    let mut bodies: Vec<Vec<u8>> =
        ["", "{", "null", "[]", "\"text\"", "42", "{}", "{\"a\":1}{", "1e999"]
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect();
    bodies.push(vec![0xff, 0xfe, 0x00, 0x80, 0x7b]);
    bodies.push(deep(100, "unknown"));
    bodies.push(deep(100_000, "unknown"));
    let fields = fields(message);
    for field in &fields {
        bodies.push(deep(100, field.name()));
        // The deepest that can be read.
        bodies.push(deep(126, field.name()));
        bodies.push(deep(100_000, field.name()));
    }
    for value in [json!([[]]), json!(-1), json!(1.5e300), json!({ "a": { "b": [] } }), json!("x")] {
        bodies.push(filled(&fields, |_| Some(value.clone())));
    }
    let long = "x".repeat(10_000);
    for id in HOSTILE_IDS.into_iter().chain([long.as_str(), "hostile"]) {
        bodies.push(filled(&fields, |field| fitting(field, id)));
    }
    // Every field fits, and each free value is as deep as can be read.
    bodies.push(deepest(&fields));
    let whole = filled(&fields, |field| fitting(field, "hostile"));
    bodies.push(whole.split_at(whole.len() / 2).0.to_vec());
    bodies
}

fn deepest(fields: &[FieldDescriptor]) -> Vec<u8> {
    let free = |field: &FieldDescriptor| matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Value");
    let deep = (0..125).fold(json!([]), |inner, _| json!([inner]));
    filled(fields, |field| if free(field) { Some(deep.clone()) } else { fitting(field, "hostile") })
}

fn fields(message: &str) -> Vec<FieldDescriptor> {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(muster_contracts::DESCRIPTORS).unwrap());
    POOL.get_message_by_name(message).unwrap().fields().collect()
}

fn filled(
    fields: &[FieldDescriptor],
    value: impl Fn(&FieldDescriptor) -> Option<Value>,
) -> Vec<u8> {
    let fields = fields.iter().filter_map(|field| Some((field.name().to_owned(), value(field)?)));
    Value::Object(fields.collect::<Map<_, _>>()).to_string().into_bytes()
}

/// A value of the field's own type, with this text wherever text may be.
fn fitting(field: &FieldDescriptor, text: &str) -> Option<Value> {
    if field.is_map() {
        return Some(json!({ text: text }));
    }
    let value = match field.kind() {
        Kind::String => json!(text),
        Kind::Bool => json!(true),
        Kind::Uint32 | Kind::Fixed32 => json!(u32::MAX),
        Kind::Int32 | Kind::Sint32 => json!(i32::MIN),
        Kind::Uint64 | Kind::Fixed64 => json!(u64::MAX.to_string()),
        Kind::Int64 | Kind::Sint64 => json!(i64::MIN.to_string()),
        Kind::Double | Kind::Float => json!(1e30),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => json!("9999-12-31T23:59:59.999999999Z"),
            "google.protobuf.Value" | "google.protobuf.Struct" => {
                json!({ text: [text, { text: -1 }] })
            }
            _ => json!({}),
        },
        _ => return None,
    };
    Some(if field.is_list() { json!([value]) } else { value })
}
