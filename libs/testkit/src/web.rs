//! A web server that behaves as the public ones that examples and conformance scenarios call: httpbin, petstore, swapi, and an OAuth2 provider.

mod digest;
mod httpbin;
mod oauth;
mod petstore;
mod swapi;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::or_fail;

/// A request that the web server got.
#[derive(Debug, Clone)]
pub struct WebRequest {
    /// Such as `GET`.
    pub method: String,
    /// The path as it came, percent-encoded.
    pub path: String,
    /// The parameters behind the `?`, decoded, in their order.
    pub query: Vec<(String, String)>,
    /// Header names in lower case; of a header that stands twice, the last.
    pub headers: BTreeMap<String, String>,
    /// The body as text; what is not UTF-8 is replaced.
    pub body: String,
}

/// A web server on a free loopback port. What it offers, all by plain HTTP:
///
/// - httpbin: `/get`, `/post`, `/put`, `/patch`, `/delete`, `/anything/…`, `/headers`, `/status/{code}`, `/basic-auth/{user}/{password}`, `/bearer`,
///   `/digest-auth/{qop}/{user}/{password}[/{algorithm}]`, `/redirect/{n}`, `/redirect-to?url=&status_code=`, `/delay/{seconds}`, `/bytes/{n}`, `/json`, `/html`, `/xml`, `/text`
/// - and what httpbin lacks: `/flaky/{n}` answers 503 to the first n requests of its path, `/echo` answers the body as it came
/// - petstore: `/v2/…` with `/v2/swagger.json` (Swagger 2), `/v3/openapi.json` (OpenAPI 3.0), `/v31/openapi.yaml` (OpenAPI 3.1)
/// - swapi: `/api/people/`, `/api/people/{id}`, `/api/planets/{id}`
/// - OAuth2: `/oauth2/token` and `/auth/token`, `/.well-known/openid-configuration` (also below `/realms/{realm}`), `/oauth2/whoami` for tokens that it gave out, `/oauth2/forget` to forget them
#[derive(Debug)]
pub struct WebServer {
    address: String,
    shared: Shared,
    serving: JoinHandle<()>,
}

/// What the handlers share.
#[derive(Clone, Debug)]
struct Shared {
    base: String,
    state: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    asked: Vec<WebRequest>,
    pets: BTreeMap<i64, Value>,
    /// The tokens that were given out.
    tokens: Vec<String>,
}

impl WebServer {
    /// Starts the server.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        or_fail(Self::try_start().await)
    }

    async fn try_start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free loopback port")?;
        let address = listener.local_addr().context("a listener has an address")?.to_string();
        let memory = Memory { pets: petstore::pets(), ..Memory::default() };
        let shared =
            Shared { base: format!("http://{address}"), state: Arc::new(Mutex::new(memory)) };
        let router = Router::new().fallback(answer).with_state(shared.clone());
        // It serves until the test ends; an error of one connection is that client's to see.
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, shared, serving })
    }

    /// `127.0.0.1:PORT`, which is what `MUSTER_HTTP_ALLOW` takes.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a path such as `/get`.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.shared.base)
    }

    /// A document whose addresses of the public servers lead here instead: those of petstore, httpbin and swapi.
    pub fn redirected(&self, document: &str) -> String {
        ["https://petstore.swagger.io", "https://httpbin.org", "https://swapi.dev"]
            .iter()
            .fold(document.to_owned(), |text, public| text.replace(public, &self.shared.base))
    }

    /// All requests so far, in the order of their arrival.
    pub fn asked(&self) -> Vec<WebRequest> {
        self.shared.memory().asked.clone()
    }

    /// The requests of one path so far.
    pub fn asked_at(&self, path: &str) -> Vec<WebRequest> {
        self.asked().into_iter().filter(|request| request.path == path).collect()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WebRequest {
    fn new(method: &Method, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> Self {
        let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        Self {
            method: method.to_string(),
            path: uri.path().to_owned(),
            query: pairs(uri),
            headers: headers.iter().map(text).collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; null where it is none.
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The fields of a form; none where the body is none.
    fn form(&self) -> Vec<(String, String)> {
        if !self.header("content-type").starts_with("application/x-www-form-urlencoded") {
            return Vec::new();
        }
        format!("/?{}", self.body).parse().map(|uri| pairs(&uri)).unwrap_or_default()
    }
}

fn pairs(uri: &Uri) -> Vec<(String, String)> {
    Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| pairs).unwrap_or_default()
}

async fn answer(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = WebRequest::new(&method, &uri, &headers, &body);
    let before = {
        let mut memory = shared.memory();
        memory.asked.push(request.clone());
        memory.asked.iter().filter(|other| other.path == request.path).count() - 1
    };
    let segments: Vec<String> =
        request.path.split('/').filter(|segment| !segment.is_empty()).map(decoded).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["v2" | "v3" | "v31", rest @ ..] => petstore::answer(&shared, &request, rest),
        ["api", rest @ ..] => swapi::answer(&shared, &request, rest),
        ["oauth2" | "auth", rest @ ..] => oauth::answer(&shared, &request, rest),
        ["realms", realm, ".well-known", "openid-configuration"] => {
            oauth::configuration(&shared, &format!("/realms/{realm}"))
        }
        ["realms", _, "token"] => oauth::answer(&shared, &request, &["token"]),
        [".well-known", "openid-configuration"] => oauth::configuration(&shared, ""),
        other => httpbin::answer(&shared, &request, other, before).await,
    }
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(json!({ "message": "there is nothing here" }))).into_response()
}

fn decoded(segment: &str) -> String {
    let mut bytes = segment.bytes();
    let mut text = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16));
        match byte {
            b'%' => match (digit(), digit()) {
                (Some(high), Some(low)) => text.extend(u8::try_from(high * 16 + low)),
                _ => text.push(b'%'),
            },
            other => text.push(other),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}
