//! A provider over HTTP, whatever its dialect: one place for connections, keys, time, bounds and errors.

use std::time::Duration;

use anyhow::Context;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Client, Response};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::dialect::{Broken, Call, Dialect};
use super::events::Flaw;
use super::refusal::{self, Refusal, told};
use super::{Keys, Output, Piece, Provider, Texts, Vectors, events, numbers};
use crate::config::{Dialect as Spoken, ProviderSettings, Secret};
use crate::domain::prompt::Prompt;
use crate::domain::reply::Reply;
use crate::domain::usage::Told;
use crate::error::Error;

/// How often a connection is tried that cannot be opened.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// The most bytes that are read of an error's body.
const MAX_ERROR: usize = 64 << 10;
/// The most bytes of an answer with vectors: 2,048 of 4,096 numbers.
const MAX_VECTORS: usize = 192 << 20;
/// How long the end of a connection's body is waited for behind the end of the reply, so that the connection can be used again.
const LINGER: Duration = Duration::from_millis(20);

/// The client that all providers share.
pub(super) fn client() -> anyhow::Result<Client> {
    // Installed already where another service of this process did so; then this changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    Client::builder()
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("the HTTP client cannot be built")
}

/// A provider over HTTP.
pub(super) struct Remote {
    client: Client,
    settings: ProviderSettings,
    keys: Keys,
    dialect: Box<dyn Dialect>,
}

impl Remote {
    pub(super) fn new(client: Client, settings: ProviderSettings, keys: Keys) -> Self {
        let dialect: Box<dyn Dialect> = match settings.dialect {
            Spoken::Anthropic => Box::new(super::anthropic::Anthropic),
            Spoken::Gemini => Box::new(super::gemini::Gemini),
            Spoken::Ollama => Box::new(super::ollama::Ollama),
            Spoken::OpenAi | Spoken::Offline => Box::new(super::openai::OpenAi),
        };
        Self { client, settings, keys, dialect }
    }

    /// The model that is asked: the provider's default where none is named.
    fn model<'a>(&'a self, named: &'a str, default: &'a str) -> Result<&'a str, Error> {
        let model = if named.is_empty() { default } else { named };
        if model.is_empty() {
            return Err(Error::invalid(format!(
                "{} has no default for this: name a model of it",
                self.settings.name
            )));
        }
        Ok(model)
    }

    async fn answer(&self, model: &str, prompt: &Prompt, output: Output) -> Result<Reply, Error> {
        let model = self.model(model, &self.settings.default_model)?;
        let call = self
            .dialect
            .complete(&self.settings, model, prompt)
            .map_err(|what| Error::invalid(format!("{} {what}", self.settings.name)))?;
        let one = One { remote: self, key: self.keys.of(&self.settings).await? };
        let media_type = self.dialect.framing().media_type();
        let response = one.expect(one.send(&call, media_type).await?, media_type)?;
        self.keys.answered(&self.settings.name, model, response.headers());
        let mut events = events::events(self.dialect.framing(), response.bytes_stream());
        one.read(&mut events, &output).await?;
        // What follows is the end of the body: with it the connection serves the next request.
        drop(timeout(LINGER, events.next()).await);
        // A copy: until it is charged, what was received must not be forgotten.
        let reply = output.received.with(|reply| reply.clone()).finish(model);
        self.tell_odd(model, &reply.usage);
        Ok(reply)
    }

    async fn vectors(&self, model: &str, texts: &Texts) -> Result<Vectors, Error> {
        let model = self.model(model, &self.settings.embedding_model)?;
        let call = self
            .dialect
            .embed(model, texts)
            .map_err(|what| Error::invalid(format!("{} {what}", self.settings.name)))?;
        let one = One { remote: self, key: self.keys.of(&self.settings).await? };
        let media_type = "application/json";
        let response = one.expect(one.send(&call, media_type).await?, media_type)?;
        let body = one.body(response).await?;
        let nonsense = |what: String| one.unavailable(format!("its answer has no vectors: {what}"));
        let body = String::from_utf8_lossy(&body);
        let answer = numbers::parse(&body).map_err(|error| nonsense(error.to_string()))?;
        let vectors = self.dialect.vectors(answer, model);
        let unread =
            |what| serde_json::from_str::<Value>(&body).map_or_else(|e| e.to_string(), |_| what);
        let vectors = vectors.map_err(|what| nonsense(unread(what)))?;
        check_vectors(&vectors, texts.inputs.len()).map_err(nonsense)?;
        self.tell_odd(model, &vectors.usage);
        Ok(vectors)
    }

    /// The answer is paid and good: only its usage is not what the dialect says.
    fn tell_odd(&self, model: &str, usage: &Told) {
        if let Some(odd) = &usage.odd {
            let provider = &self.settings.name;
            warn!(
                provider,
                model,
                odd,
                "usage of the provider cannot be read, it is estimated by the tokenizer"
            );
        }
    }
}

fn check_vectors(vectors: &Vectors, expected: usize) -> Result<(), String> {
    let found = vectors.vectors.len();
    if found != expected {
        return Err(format!("{found} vectors for {expected} texts"));
    }
    let length = vectors.vectors.first().map_or(0, Vec::len);
    let odd = |vector: &Vec<f32>| vector.len() != length || vector.iter().any(|n| !n.is_finite());
    if length == 0 || vectors.vectors.iter().any(odd) {
        return Err("vectors of no or different lengths".to_owned());
    }
    Ok(())
}

/// One request to the provider, with the key that it has.
struct One<'a> {
    remote: &'a Remote,
    key: Option<Secret>,
}

impl One<'_> {
    fn settings(&self) -> &ProviderSettings {
        &self.remote.settings
    }

    /// Opens the stream. Only a connection that could not be opened is tried again: whatever came further may have been paid.
    async fn send(&self, call: &Call, media_type: &'static str) -> Result<Response, Error> {
        let url = self.settings().base_url.with(&call.path);
        let headers = self
            .remote
            .dialect
            .headers(self.key.as_ref())
            .map_err(|reason| Error::NoKey { provider: self.settings().name.clone(), reason })?;
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let request = self.remote.client.post(&url).headers(headers.clone());
            let request = request.header(ACCEPT, media_type).json(&call.body);
            match timeout(self.settings().idle, request.send()).await {
                Ok(Ok(response)) if response.status().is_success() => return Ok(response),
                Ok(Ok(response)) => return Err(self.refusal(response).await),
                Ok(Err(error)) if error.is_connect() && attempt < TRIES => {
                    let (provider, url) = (&self.settings().name, self.settings().base_url.shown());
                    warn!(provider, url, attempt, wait_ms = wait.as_millis() as u64, error = %told(&error), "provider cannot be reached, will try again");
                    sleep(wait + wait.mul_f64(rand::random::<f64>() / 2.0)).await;
                    wait *= 2;
                }
                Ok(Err(error)) => return Err(self.unavailable(told(&error))),
                Err(_elapsed) => return Err(self.silent()),
            }
        }
        Err(self.unavailable("no try was made"))
    }

    fn expect(&self, response: Response, media_type: &str) -> Result<Response, Error> {
        let found = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let found = found.unwrap_or(media_type);
        // Lines of JSON are also called JSON.
        let lines = media_type.ends_with("ndjson") && found.starts_with("application/json");
        if found.starts_with(media_type) || lines {
            return Ok(response);
        }
        let shown: String = found.chars().take(80).collect();
        Err(Error::invalid(format!(
            "{} answers with {shown:?} instead of {media_type:?}: is the address of the provider {} right?",
            self.settings().base_url.shown(),
            self.settings().name
        )))
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status().as_u16();
        let headers: HeaderMap = response.headers().clone();
        let body = timeout(self.settings().idle, start_of(response)).await.unwrap_or_default();
        let retry_after_ms = refusal::retry_after_ms(&headers, &body);
        self.refused(status, &refusal::message_of_body(&body), retry_after_ms)
    }

    fn refused(&self, status: u16, message: &str, retry_after_ms: Option<u64>) -> Error {
        let settings = self.settings();
        let refusal = Refusal {
            provider: &settings.name,
            key_setting: &settings.key_setting,
            address: settings.base_url.shown(),
            status,
            message: self.redact(message),
            retry_after_ms,
        };
        refusal.error()
    }

    async fn read(
        &self,
        events: &mut BoxStream<'static, Result<String, Flaw>>,
        output: &Output,
    ) -> Result<(), Error> {
        let mut reader = self.remote.dialect.reader();
        loop {
            let data = match timeout(self.settings().idle, events.next()).await {
                Err(_elapsed) => return Err(self.silent()),
                Ok(Some(Ok(data))) => data,
                // Some servers close the stream without the mark of its end.
                Ok(None) if output.received.with(|reply| reply.finish_reason.is_some()) => {
                    return Ok(());
                }
                Ok(None) => {
                    return Err(self.unavailable("the stream ended in the middle of the reply"));
                }
                Ok(Some(Err(Flaw::TooLarge))) => return Err(self.broken(Broken::TooLarge)),
                Ok(Some(Err(Flaw::BrokeOff(why)))) => {
                    return Err(self.unavailable(format!("the stream broke off: {why}")));
                }
            };
            let (step, thought, is_whole) = output
                .received
                .with(|reply| {
                    let thought = reply.reasoning().len();
                    let step = reader.read(&data, reply)?;
                    reply.begin();
                    let thought = reply.reasoning().get(thought..).unwrap_or_default().to_owned();
                    Ok((step, thought, reply.finish_reason.is_some()))
                })
                .map_err(|broken| self.broken(broken))?;
            for piece in [Piece::Thought(thought), Piece::Text(step.text)] {
                output.send(piece).await;
            }
            if step.ended && is_whole {
                return Ok(());
            }
            if step.ended {
                return Err(self.unavailable("the stream ended without a finish reason"));
            }
        }
    }

    async fn body(&self, response: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        loop {
            match timeout(self.settings().idle, stream.next()).await {
                Err(_elapsed) => return Err(self.silent()),
                Ok(None) => return Ok(body),
                Ok(Some(Err(error))) => return Err(self.unavailable(told(&error))),
                Ok(Some(Ok(bytes))) => body.extend_from_slice(&bytes),
            }
            if body.len() > MAX_VECTORS {
                return Err(self.unavailable("its answer is larger than vectors can be"));
            }
        }
    }

    fn broken(&self, broken: Broken) -> Error {
        match broken {
            Broken::TooLarge => Error::invalid(format!(
                "the reply of {} is larger than 1 MiB: set max_tokens",
                self.settings().name
            )),
            Broken::Nonsense(message) => self.unavailable(message),
            Broken::Told { status, message } => self.refused(status, &message, None),
        }
    }

    fn redact(&self, text: &str) -> String {
        self.key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }

    fn unavailable(&self, message: impl Into<String>) -> Error {
        let shown = self.settings().base_url.shown();
        let message = format!("{shown}: {}", self.redact(&message.into()));
        Error::Unavailable { provider: self.settings().name.clone(), message, retry_after_ms: None }
    }

    fn silent(&self) -> Error {
        self.unavailable(format!("no byte for {} ms", self.settings().idle.as_millis()))
    }
}

async fn start_of(response: Response) -> Vec<u8> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(Ok(bytes)) = stream.next().await {
        body.extend_from_slice(&bytes);
        if body.len() > MAX_ERROR {
            break;
        }
    }
    body
}

impl Provider for Remote {
    fn complete<'a>(
        &'a self,
        model: &'a str,
        prompt: &'a Prompt,
        output: Output,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        self.answer(model, prompt, output).boxed()
    }

    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: &'a Texts,
    ) -> BoxFuture<'a, Result<Vectors, Error>> {
        self.vectors(model, texts).boxed()
    }

    fn lacks(&self) -> Option<String> {
        self.keys.lacks(&self.settings)
    }
}
