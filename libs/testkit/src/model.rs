//! A model server with scripted answers, in the dialects of OpenAI, Anthropic, Gemini and Ollama.

mod answer;
mod anthropic;
mod gemini;
mod ollama;
mod openai;
mod stream;
mod vectors;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use self::answer::{Answer, Breakage, Finish};
use self::stream::HangUps;
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
struct Shared {
    script: Arc<Mutex<Script>>,
    hang_ups: HangUps,
}

/// A dialect, known by the path that it is asked on.
#[derive(Clone, Copy)]
enum Dialect {
    OpenAi,
    Anthropic,
    Gemini,
    Ollama,
}

/// Answers what the test has scripted, in the dialect of the path:
///
/// - OpenAI: `POST /v1/chat/completions` (streamed or whole), `POST /v1/embeddings`, `GET /v1/models`
/// - Anthropic: `POST /v1/messages` (streamed)
/// - Gemini: `POST /v1beta/models/{model}:streamGenerateContent` and `:batchEmbedContents`
/// - Ollama: `POST /api/chat` (streamed), `POST /api/embed`
///
/// A vector depends on the words of its text only. `GET /v1/models` lists one model.
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
            .route("/v1/models", get(models))
            .route("/{*path}", post(asked))
            // Images stand in requests.
            .layer(DefaultBodyLimit::max(64 << 20))
            .with_state(shared.clone());
        // It serves until the test ends; an error of one connection is that client's to see.
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { base_url, shared, serving })
    }

    /// `http://127.0.0.1:PORT/v1`, which is what `OPENAI_BASE_URL` takes.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// `http://127.0.0.1:PORT`, which is what `ANTHROPIC_BASE_URL` and `OLLAMA_HOST` take, and with `/v1beta` what `GEMINI_BASE_URL` takes.
    pub fn root_url(&self) -> &str {
        self.base_url.trim_end_matches("/v1")
    }

    /// How many streams were left by their client before their end.
    pub fn hang_ups(&self) -> usize {
        self.shared.hang_ups.count()
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
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, uri: &Uri, headers: &HeaderMap, body: &[u8]) -> RecordedRequest {
        let text = |(name, value): (&axum::http::HeaderName, &HeaderValue)| {
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

async fn asked(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = shared.record(&uri, &headers, &body);
    match uri.path() {
        "/v1/chat/completions" => shared.tell(Dialect::OpenAi, &request),
        "/v1/messages" => shared.tell(Dialect::Anthropic, &request),
        "/api/chat" => shared.tell(Dialect::Ollama, &request),
        "/v1/embeddings" => embed(Dialect::OpenAi, &request.body),
        "/api/embed" => embed(Dialect::Ollama, &request.body),
        path if path.ends_with(":streamGenerateContent") => shared.tell(Dialect::Gemini, &request),
        path if path.ends_with(":batchEmbedContents") => embed(Dialect::Gemini, &request.body),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Shared {
    fn tell(&self, dialect: Dialect, request: &RecordedRequest) -> Response {
        let (answer, body) = (self.answer(request), &request.body);
        if let Some((status, message)) = &answer.failure {
            return failure(dialect, *status, message, answer.retry_after);
        }
        let hang_ups = self.hang_ups.clone();
        match dialect {
            Dialect::OpenAi => openai::chat(&answer, body, hang_ups),
            Dialect::Anthropic => anthropic::messages(&answer, body, hang_ups),
            Dialect::Ollama => ollama::chat(&answer, body, hang_ups),
            Dialect::Gemini => {
                let model = request.path.rsplit('/').next().unwrap_or_default();
                let model = model.split(':').next().unwrap_or_default();
                gemini::generate(&answer, model, body, hang_ups)
            }
        }
    }
}

fn failure(
    dialect: Dialect,
    status: StatusCode,
    message: &str,
    retry_after: Option<u64>,
) -> Response {
    let body = match dialect {
        Dialect::OpenAi => openai::error(status, message),
        Dialect::Anthropic => anthropic::error(status, message),
        Dialect::Gemini => gemini::error(status, message),
        Dialect::Ollama => ollama::error(status, message),
    };
    let mut response = (status, axum::Json(body)).into_response();
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn embed(dialect: Dialect, request: &Value) -> Response {
    let Some(inputs) = vectors::inputs(request) else {
        let message = "input must be a text or a list of texts";
        return failure(dialect, StatusCode::BAD_REQUEST, message, None);
    };
    let dimensions = vectors::dimensions(request);
    let words = inputs.iter().map(|input| input.split_whitespace().count()).sum();
    let found: Vec<_> = inputs.iter().map(|input| vectors::vector(input, dimensions)).collect();
    match dialect {
        Dialect::Gemini => gemini::embeddings(&found),
        Dialect::Ollama => ollama::embeddings(&found, words, request),
        Dialect::OpenAi | Dialect::Anthropic => openai::embeddings(&found, words, request),
    }
}

async fn models() -> axum::Json<Value> {
    let model =
        json!({ "id": "scripted", "object": "model", "created": 0, "owned_by": "muster-testkit" });
    axum::Json(json!({ "object": "list", "data": [model] }))
}
