//! Requests to HTTP servers that the settings name.

use futures::FutureExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Tool, Work, arguments};
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::outbound::{Answer, Outbound, Question, header, header_text};

pub(super) struct HttpRequest {
    pub(super) outbound: Outbound,
}

#[derive(Deserialize)]
struct Arguments {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Value>,
}

impl HttpRequest {
    async fn request(&self, call: &Call) -> Result<Value, Error> {
        let once = self.effect(&call.arguments) == Effect::Once;
        let question = question(arguments(call)?, &call.idempotency_key, once)?;
        let (question, answer) = self.outbound.follow(question).await?;
        Ok(shown(&question.url, &answer))
    }
}

impl Tool for HttpRequest {
    fn definition(&self) -> Definition {
        Definition {
            name: "http_request".into(),
            description: "Sends an HTTP request to a server that the operator has allowed. Returns status, headers and body, whatever the status is.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "url": { "type": "string", "pattern": "^https?://", "maxLength": 8192 },
                    "method": { "enum": ["GET", "HEAD", "PUT", "DELETE", "POST", "PATCH"], "description": "Default GET." },
                    "headers": { "type": "object", "additionalProperties": { "type": "string" }, "maxProperties": 64 },
                    "body": { "description": "A text is sent as it is, any other value as JSON." },
                    "idempotent": { "type": "boolean", "description": "For POST and PATCH: the server recognises a repeated request by its header Idempotency-Key, so that an interrupted call may be repeated." },
                },
                "required": ["url"],
                "additionalProperties": false,
            }),
            effect: Effect::Once,
        }
    }

    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        let method = arguments.get("method").and_then(Value::as_str).unwrap_or("GET");
        let repeatable = arguments.get("idempotent").and_then(Value::as_bool).unwrap_or_default();
        if matches!(method, "POST" | "PATCH") && !repeatable {
            Effect::Once
        } else {
            Effect::Idempotent
        }
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        self.request(call).boxed()
    }
}

fn question(arguments: Arguments, idempotency_key: &str, once: bool) -> Result<Question, Error> {
    let url = Url::parse(&arguments.url)
        .map_err(|error| Error::Invalid(format!("url is {:?}: {error}", arguments.url)))?;
    let method = arguments.method.as_deref().unwrap_or("GET");
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|error| Error::Invalid(format!("method is {method:?}: {error}")))?;
    let mut headers = HeaderMap::new();
    for (name, value) in &arguments.headers {
        let (name, value) = header(name, value.as_str().unwrap_or_default())?;
        headers.insert(name, value);
    }
    let body = match arguments.body {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.into_bytes()),
        Some(json) => {
            headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
            Some(json.to_string().into_bytes())
        }
    };
    if !idempotency_key.is_empty()
        && let Ok(key) = HeaderValue::from_str(idempotency_key)
    {
        headers.entry("idempotency-key").or_insert(key);
    }
    Ok(Question { url, method, headers, body, once })
}

fn shown(url: &Url, answer: &Answer) -> Value {
    let headers: Map<String, Value> = answer
        .headers
        .iter()
        .filter(|(name, _)| *name != "set-cookie")
        .map(|(name, value)| (name.to_string(), Value::String(header_text(value))))
        .collect();
    let is_json =
        answer.headers.get(CONTENT_TYPE).is_some_and(|kind| header_text(kind).contains("json"));
    let parsed = if is_json { serde_json::from_slice(&answer.body).ok() } else { None };
    let text = || Value::String(String::from_utf8_lossy(&answer.body).into_owned());
    let body = parsed.unwrap_or_else(text);
    json!({ "status": answer.status.as_u16(), "url": url.to_string(), "headers": headers, "body": body })
}
