//! What a task sees of an event.

use serde_json::{Value, json};

/// The attribute of an event that is a message's correlation id.
const CORRELATION: &str = "correlationid";

/// What a task sees of an event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Read {
    /// Its data.
    #[default]
    Data,
    /// All of it, in its structured JSON form.
    Envelope,
    /// Its data as it travelled: a text.
    Raw,
    /// The message of an AsyncAPI channel that it is: `payload`, `headers` and `correlationId`.
    Message,
}

impl Read {
    /// The part of an event that is read.
    pub(crate) fn of(self, event: &Value) -> Value {
        let data = || event.get("data").cloned().unwrap_or_default();
        match self {
            Read::Envelope => event.clone(),
            Read::Data => match event.get("data_base64") {
                Some(bytes) => bytes.clone(),
                None => data(),
            },
            Read::Message => message(event),
            Read::Raw => match (event.get("data_base64"), data()) {
                (Some(bytes), _) => bytes.clone(),
                (None, Value::Null) => Value::String(String::new()),
                (None, Value::String(text)) if !is_json(event) => Value::String(text),
                (None, data) => Value::String(data.to_string()),
            },
        }
    }
}

/// Its data and, as headers, its other attributes.
fn message(event: &Value) -> Value {
    const BODY: [&str; 3] = ["data", "data_base64", CORRELATION];
    let mut headers = event.as_object().cloned().unwrap_or_default();
    headers.retain(|name, _| !BODY.contains(&name.as_str()));
    let mut message = json!({"payload": Read::Data.of(event), "headers": headers});
    if let (Some(id), Some(message)) = (event.get(CORRELATION), message.as_object_mut()) {
        message.insert("correlationId".to_owned(), id.clone());
    }
    message
}

/// Whether the data is JSON, which it is where nothing else is said.
fn is_json(event: &Value) -> bool {
    let kind = event.get("datacontenttype").and_then(Value::as_str).unwrap_or("application/json");
    let media = kind.split(';').next().unwrap_or_default().trim();
    media.ends_with("/json") || media.ends_with("+json")
}
