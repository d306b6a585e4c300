//! A model server with scripted answers, in OpenAI's dialect.

mod answer;
mod wire;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::answer::Answer;
use crate::or_fail;

/// A request that the model server got.
#[derive(Debug, Clone)]
pub struct RecordedRequest {
    /// Such as `/v1/chat/completions`.
    pub path: String,
    /// Header names in lower case; values that are not text are left out.
    pub headers: BTreeMap<String, String>,
    /// The body; `null` where it was not JSON.
    pub body: Value,
}

type Responder = Box<dyn Fn(&RecordedRequest) -> Answer + Send + Sync>;

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    responder: Option<Responder>,
    requests: Vec<RecordedRequest>,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Script>>);

/// `POST /v1/chat/completions` (streamed or whole) answers what the test has scripted; `POST /v1/embeddings`
/// answers a vector for each input that depends on its words only; `GET /v1/models` lists one model.
///
/// A chat request beyond the script gets status 500 and a text that says so.
pub struct ScriptedModel {
    base_url: String,
    shared: Shared,
    serving: JoinHandle<()>,
}

impl ScriptedModel {
    /// Starts the server on a free loopback port.
    ///
    /// # Panics
    /// When no port is free.
    pub async fn start() -> Self {
        or_fail(Self::try_start().await)
    }

    async fn try_start() -> Result<Self> {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("no free loopback port")?;
        let base_url =
            format!("http://{}/v1", listener.local_addr().context("a listener has an address")?);
        let shared = Shared::default();
        let router = Router::new()
            .route("/v1/chat/completions", post(chat))
            .route("/v1/embeddings", post(embeddings))
            .route("/v1/models", get(models))
            .with_state(shared.clone());
        // It serves until the test ends; an error of one connection is that client's to see.
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { base_url, shared, serving })
    }

    /// `http://127.0.0.1:PORT/v1`, which is what `OPENAI_BASE_URL` takes.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Adds an answer to the script. The answers are given in order, one to a chat request.
    pub fn push(&self, answer: Answer) -> &Self {
        self.shared.script().answers.push_back(answer);
        self
    }

    /// Answers every chat request that the script does not cover: for concurrent clients, where order means nothing.
    pub fn respond_with(
        &self,
        responder: impl Fn(&RecordedRequest) -> Answer + Send + Sync + 'static,
    ) -> &Self {
        self.shared.script().responder = Some(Box::new(responder));
        self
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.shared.script().requests.clone()
    }

    /// How many scripted answers nobody has asked for.
    pub fn remaining(&self) -> usize {
        self.shared.script().answers.len()
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> RecordedRequest {
        let text = |(name, value): (&axum::http::HeaderName, &axum::http::HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let request = RecordedRequest {
            path: uri.path().to_owned(),
            headers: headers.iter().filter_map(text).collect(),
            body: serde_json::from_slice(body).unwrap_or_default(),
        };
        self.script().requests.push(request.clone());
        request
    }

    fn answer(&self, request: &RecordedRequest) -> Answer {
        let mut script = self.script();
        if let Some(answer) = script.answers.pop_front() {
            return answer;
        }
        script.responder.as_ref().map_or_else(
            || {
                Answer::failure(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "the script of this test's model has no further answer",
                )
            },
            |responder| responder(request),
        )
    }
}

async fn chat(State(shared): State<Shared>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let request = shared.record(&uri, &headers, &body);
    wire::chat(shared.answer(&request), &request.body)
}

async fn embeddings(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    wire::embeddings(&shared.record(&uri, &headers, &body).body)
}

async fn models() -> axum::Json<Value> {
    let model =
        json!({ "id": "scripted", "object": "model", "created": 0, "owned_by": "muster-testkit" });
    axum::Json(json!({ "object": "list", "data": [model] }))
}
