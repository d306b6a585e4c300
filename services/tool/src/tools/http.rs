//! Requests to HTTP servers that the settings name.

mod guard;

use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use self::guard::PublicOnly;
use super::{Tool, Work, arguments};
use crate::config::Config;
use crate::domain::call::{Call, Definition, Effect};
use crate::domain::egress::{Egress, Reach, is_public};
use crate::error::Error;

/// The most redirects of one call.
const MAX_REDIRECTS: usize = 5;
/// The largest answer, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Headers that belong to the connection, not to the caller.
const RESERVED: &[&str] = &[
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "expect",
    "keep-alive",
];

pub(super) struct HttpRequest {
    egress: Egress,
    /// Reaches whatever it is asked for: host and port are in the settings.
    trusted: Client,
    /// Reaches public addresses only, whatever a name resolves to.
    public: Client,
}

#[derive(Deserialize)]
struct Arguments {
    url: String,
    method: Option<String>,
    #[serde(default)]
    headers: Map<String, Value>,
    body: Option<Value>,
}

/// A request that may be sent again to where a redirect points.
struct Question {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    /// Whether a second sending may do something a second time.
    once: bool,
}

impl HttpRequest {
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        // Installed already where another service of this process did so; then this changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let builder = || {
            Client::builder()
                .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(Duration::from_secs(10).min(config.timeout))
                // A proxy would resolve names itself, past the checks.
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
        };
        Ok(Self {
            egress: config.egress.clone(),
            trusted: builder().build().context("the HTTP client cannot be built")?,
            public: builder()
                .dns_resolver(PublicOnly)
                .build()
                .context("the HTTP client cannot be built")?,
        })
    }

    async fn request(&self, call: &Call) -> Result<Value, Error> {
        let once = self.effect(&call.arguments) == Effect::Once;
        let mut question = Question::parse(arguments(call)?, &call.idempotency_key, once)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&question).await?;
            match redirect(&response, &question)? {
                Some(next) => question = next,
                None => return answer(response, &question).await,
            }
        }
        Err(Error::Invalid(format!("{} redirects more than {MAX_REDIRECTS} times", question.url)))
    }

    async fn send(&self, question: &Question) -> Result<Response, Error> {
        let client = self.client(&question.url)?;
        let mut request = client
            .request(question.method.clone(), question.url.clone())
            .headers(question.headers.clone());
        if let Some(body) = &question.body {
            request = request.body(body.clone());
        }
        request.send().await.map_err(|error| lost(&error, question))
    }

    /// The client that may reach this URL.
    fn client(&self, url: &Url) -> Result<&Client, Error> {
        let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
            return Err(Error::Invalid(format!("url is {url}, but must have a host")));
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        match self.egress.check(host, port).map_err(Error::Denied)? {
            Reach::Any => Ok(&self.trusted),
            // A literal address is not resolved, so the resolver cannot refuse it.
            Reach::Public if host.parse().is_ok_and(|address| !is_public(address)) => {
                Err(Error::Denied(guard::refusal(host, &format!("{host}:{port}"))))
            }
            Reach::Public => Ok(&self.public),
        }
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

impl Question {
    fn parse(arguments: Arguments, idempotency_key: &str, once: bool) -> Result<Self, Error> {
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
        Ok(Self { url, method, headers, body, once })
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    let lower = name.to_ascii_lowercase();
    if RESERVED.contains(&lower.as_str()) || lower.starts_with("proxy-") {
        return Err(Error::Invalid(format!(
            "the header {name:?} belongs to the connection and cannot be set"
        )));
    }
    // The value may be a secret: the error does not repeat it.
    HeaderName::from_bytes(lower.as_bytes()).ok().zip(HeaderValue::from_str(value).ok()).ok_or_else(
        || Error::Invalid(format!("the header {name:?} has characters that a header cannot have")),
    )
}

/// The request that a redirect asks for.
fn redirect(response: &Response, question: &Question) -> Result<Option<Question>, Error> {
    let status = response.status();
    let again = matches!(
        status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    let Some(location) = response.headers().get(LOCATION).filter(|_| again) else {
        return Ok(None);
    };
    let url = location.to_str().ok().and_then(|location| question.url.join(location).ok());
    let url = url.filter(|url| matches!(url.scheme(), "http" | "https")).ok_or_else(|| {
        Error::Invalid(format!(
            "{} redirects to {location:?}, which is no http address",
            question.url
        ))
    })?;
    let keeps = matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
        || matches!(question.method, Method::GET | Method::HEAD);
    let mut headers = question.headers.clone();
    if !keeps {
        headers.remove(CONTENT_TYPE);
    }
    // What the caller meant for one server is not for another.
    if url.origin() != question.url.origin() {
        headers.clear();
    }
    Ok(Some(Question {
        url,
        method: if keeps { question.method.clone() } else { Method::GET },
        headers,
        body: question.body.clone().filter(|_| keeps),
        once: question.once,
    }))
}

async fn answer(mut response: Response, question: &Question) -> Result<Value, Error> {
    let (status, url) = (response.status().as_u16(), response.url().to_string());
    let mut body = Vec::new();
    while let Some(bytes) = response.chunk().await.map_err(|error| lost(&error, question))? {
        if body.len() + bytes.len() > MAX_BODY {
            return Err(Error::Invalid(format!(
                "the answer of {url} is larger than {MAX_BODY} bytes"
            )));
        }
        body.extend_from_slice(&bytes);
    }
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Map<String, Value> = response
        .headers()
        .iter()
        .filter(|(name, _)| *name != "set-cookie")
        .map(|(name, value)| (name.to_string(), Value::String(text(value))))
        .collect();
    let is_json =
        response.headers().get(CONTENT_TYPE).is_some_and(|kind| text(kind).contains("json"));
    let parsed = if is_json { serde_json::from_slice(&body).ok() } else { None };
    let body = parsed.unwrap_or_else(|| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(json!({ "status": status, "url": url, "headers": headers, "body": body }))
}

/// What a broken connection means: nothing where it was never open, else it depends on whether the request may be repeated.
fn lost(error: &reqwest::Error, question: &Question) -> Error {
    let mut text = format!("{} {}", question.method, question.url);
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<guard::Refused>() {
            return Error::Denied(refused.to_string());
        }
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    if question.once && !error.is_connect() && !error.is_builder() {
        return Error::Interrupted(format!("the connection broke before the answer: {text}"));
    }
    Error::Unavailable(text)
}
