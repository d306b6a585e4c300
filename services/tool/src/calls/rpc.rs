//! JSON-RPC 2.0 over HTTP, as MCP and A2A speak it: a message is a POST, the answer is JSON or a stream of events.

use reqwest::header::HeaderMap;
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::answer::{Output, failure};
use super::events::{Events, is_stream};
use super::request::Ask;
use super::vault::Vault;
use super::{Net, raised};
use crate::error::Error;

const FIXED: [&str; 2] = ["accept", "content-type"];

/// Who is spoken to.
pub(super) struct Peer {
    pub(super) uri: String,
    pub(super) headers: Map<String, Value>,
    pub(super) authentication: Option<Value>,
}

/// What a message was answered.
pub(super) struct Reply {
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    /// The messages in their order; none where there was nothing to say.
    pub(super) messages: Vec<Value>,
}

impl Peer {
    pub(super) fn ask(&self, method: Method, body: Value) -> Ask {
        Ask {
            method,
            uri: self.uri.clone(),
            headers: self.headers.clone(),
            query: Vec::new(),
            body,
            authentication: self.authentication.clone(),
            output: Output::Content,
            redirect: true,
        }
    }
}

impl Net {
    /// Sends a message under an idempotency key. A stream is read until `last` is true of a message.
    pub(super) async fn post(
        &self,
        peer: &Peer,
        message: Value,
        (key, last): (&str, fn(&Value) -> bool),
        vault: &mut Vault,
    ) -> Result<Reply, Error> {
        let mut ask = peer.ask(Method::POST, message);
        // The protocol says what these are, whatever the task says.
        ask.headers.retain(|name, _| !FIXED.iter().any(|fixed| name.eq_ignore_ascii_case(fixed)));
        ask.headers.insert("accept".to_owned(), json!("application/json, text/event-stream"));
        ask.headers.insert("content-type".to_owned(), json!("application/json"));
        let (asked, answer) = self.converse(&ask, key, last, vault).await?;
        if !answer.status.is_success() {
            let detail = failure(&asked, &answer);
            return Err(raised("communication", answer.status.as_u16(), detail));
        }
        let messages = if answer.body.is_empty() {
            Vec::new()
        } else if is_stream(&answer.headers) {
            // Where a stream breaks off without an empty line, its last event counts all the same.
            let mut events = Events::default();
            let mut messages = events.push(&answer.body);
            messages.extend(events.push(b"\n\n"));
            messages
        } else {
            match serde_json::from_slice(&answer.body) {
                Ok(Value::Array(messages)) => messages,
                Ok(message) => vec![message],
                Err(error) => {
                    let detail =
                        format!("{} answered neither JSON nor a stream: {error}", asked.url);
                    return Err(raised("communication", 502, detail));
                }
            }
        };
        Ok(Reply { url: asked.url, headers: answer.headers, messages })
    }
}

/// A request of JSON-RPC.
pub(super) fn request(id: u64, method: &str, parameters: Option<&Value>) -> Value {
    let mut request = json!({ "jsonrpc": "2.0", "id": id, "method": method });
    if let (Some(parameters), Some(fields)) = (parameters, request.as_object_mut()) {
        fields.insert("params".to_owned(), parameters.clone());
    }
    request
}

/// Whether a message answers a request.
pub(super) fn is_response(message: &Value) -> bool {
    message.get("method").is_none()
        && (message.get("result").is_some() || message.get("error").is_some())
}

/// The result in a message, or the error that it tells.
pub(super) fn result(message: &Value, who: &str) -> Result<Value, Error> {
    if let Some(error) = message.get("error").filter(|error| !error.is_null()) {
        let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
        let text = error.get("message").and_then(Value::as_str).unwrap_or_default();
        let data = error.get("data").filter(|data| !data.is_null());
        let data = data.map(|data| format!(" ({data:.500})")).unwrap_or_default();
        let detail = format!("{who} answered the error {code}: {text:.500}{data}");
        return Err(raised("communication", 500, detail));
    }
    Ok(message.get("result").cloned().unwrap_or_default())
}

/// The parameters of a call: a map, or absent.
pub(super) fn parameters(arguments: &Map<String, Value>) -> Option<Value> {
    arguments.get("parameters").filter(|parameters| !parameters.is_null()).cloned()
}
