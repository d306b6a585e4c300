//! OpenAI's chat completions and everything that speaks them: vLLM, LM Studio, Ollama, Mistral, Groq.

mod wire;

use std::time::Duration;

use anyhow::Context;
use eventsource_stream::Eventsource;
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use tokio::time::{sleep, timeout};
use tracing::warn;

use self::wire::Event;
use super::{Pieces, Provider};
use crate::config::OpenAiSettings;
use crate::domain::prompt::Prompt;
use crate::domain::reply::{PartialReply, Reply};
use crate::error::Error;

pub(super) const NAME: &str = "openai";
/// How often a connection is tried that cannot be opened.
const TRIES: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// When to come again where the provider does not say.
const RETRY_AFTER_MS: u64 = 5_000;
/// The most bytes of one stream: a reply of the largest size in the smallest pieces.
const MAX_STREAM: usize = 256 << 20;
/// The most bytes of one event, so that a line without end does not fill the memory.
const MAX_EVENT: usize = 4 << 20;
/// The most bytes that are read of an error's body.
const MAX_ERROR: usize = 64 << 10;

pub(super) struct OpenAi {
    client: Client,
    settings: OpenAiSettings,
    url: String,
}

impl OpenAi {
    pub(super) fn new(settings: &OpenAiSettings) -> anyhow::Result<Self> {
        // Installed already where another service of this process did so; then this changes nothing.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = HeaderMap::new();
        if let Some(key) = &settings.key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).context(
                "OPENAI_API_KEY has characters that a header cannot have, such as a line break",
            )?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .context("the HTTP client cannot be built")?;
        let url = format!("{}/chat/completions", settings.base_url.as_str().trim_end_matches('/'));
        Ok(Self { client, settings: settings.clone(), url })
    }

    async fn answer(&self, prompt: &Prompt, pieces: Pieces) -> Result<Reply, Error> {
        let model = if prompt.model.is_empty() { &self.settings.model } else { &prompt.model };
        let response = self.send(&wire::body(prompt, model, self.settings.is_openai())).await?;
        let events = response
            .bytes_stream()
            .scan(Guard::default(), |guard, bytes| std::future::ready(Some(guard.check(bytes))))
            .eventsource();
        self.read(events, pieces).await.map(|reply| reply.finish(model))
    }

    /// Opens the stream. Only a connection that could not be opened is tried again: whatever came further may have been paid.
    async fn send(&self, body: &serde_json::Value) -> Result<Response, Error> {
        let mut wait = FIRST_WAIT;
        for attempt in 1.. {
            let request =
                self.client.post(&self.url).header(ACCEPT, "text/event-stream").json(body);
            match timeout(self.settings.idle, request.send()).await {
                Ok(Ok(response)) if response.status().is_success() => {
                    return self.expect_stream(response);
                }
                Ok(Ok(response)) => return Err(self.refusal(response).await),
                Ok(Err(error)) if error.is_connect() && attempt < TRIES => {
                    warn!(provider = NAME, url = self.settings.base_url.shown(), attempt, wait_ms = wait.as_millis() as u64, error = %told(&error), "provider cannot be reached, will try again");
                    sleep(wait + wait.mul_f64(rand::random::<f64>() / 2.0)).await;
                    wait *= 2;
                }
                Ok(Err(error)) => return Err(self.unavailable(told(&error))),
                Err(_elapsed) => return Err(self.silent()),
            }
        }
        Err(self.unavailable("no try was made"))
    }

    fn expect_stream(&self, response: Response) -> Result<Response, Error> {
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        if content_type.is_none_or(|value| value.starts_with("text/event-stream")) {
            return Ok(response);
        }
        let text = format!(
            "{} answers with {:?} instead of the event stream that was asked for: is OPENAI_BASE_URL right?",
            self.settings.base_url.shown(),
            content_type.unwrap_or_default()
        );
        Err(Error::invalid(text))
    }

    async fn refusal(&self, response: Response) -> Error {
        let status = response.status();
        let retry_after_ms = retry_after_ms(response.headers());
        let body = timeout(self.settings.idle, start_of(response)).await.unwrap_or_default();
        let message = self.settings.redact(&wire::error_message(&body));
        match status {
            // The provider's text may repeat a part of the key.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Denied { provider: NAME, status: status.as_u16(), setting: "OPENAI_API_KEY" }
            }
            StatusCode::TOO_MANY_REQUESTS => Error::Exhausted {
                provider: NAME,
                message,
                retry_after_ms: retry_after_ms.unwrap_or(RETRY_AFTER_MS),
            },
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT | StatusCode::TOO_EARLY => {
                self.unavailable(format!("status {status}: {message}"))
            }
            status if status.is_client_error() || status.is_redirection() => Error::invalid(
                format!("openai refuses the request with status {status}: {message}"),
            ),
            status => self.unavailable(format!("status {status}: {message}")),
        }
    }

    async fn read<E: std::fmt::Display>(
        &self,
        events: impl Stream<Item = Result<eventsource_stream::Event, E>>,
        pieces: Pieces,
    ) -> Result<PartialReply, Error> {
        let mut events = std::pin::pin!(events);
        let mut reply = PartialReply::default();
        loop {
            let event = match timeout(self.settings.idle, events.next()).await {
                Err(_elapsed) => return Err(self.silent()),
                Ok(Some(Ok(event))) => {
                    wire::parse(&event.data).map_err(|text| self.unavailable(text))?
                }
                // Some servers close the stream without the mark of its end.
                Ok(None) if reply.finish_reason.is_some() => return Ok(reply),
                Ok(None) => {
                    return Err(self.unavailable("the stream ended in the middle of the reply"));
                }
                Ok(Some(Err(error))) => {
                    return Err(self.unavailable(format!("the stream broke off: {error}")));
                }
            };
            match event {
                Event::End if reply.finish_reason.is_some() => return Ok(reply),
                Event::End => {
                    return Err(self.unavailable("the stream ended without a finish reason"));
                }
                Event::Error(message) => {
                    return Err(self.unavailable(self.settings.redact(&message)));
                }
                Event::Chunk(chunk) => {
                    let text = chunk.add_to(&mut reply).map_err(|_too_large| {
                        Error::invalid("openai's reply is larger than 1 MiB: set max_tokens")
                    })?;
                    if !text.is_empty() {
                        // Nobody reads them any more: the reply is still taken, recorded and answered.
                        drop(pieces.send(text).await);
                    }
                }
            }
        }
    }

    fn unavailable(&self, message: impl Into<String>) -> Error {
        let message = format!("{}: {}", self.settings.base_url.shown(), message.into());
        Error::Unavailable { provider: NAME, message }
    }

    fn silent(&self) -> Error {
        self.unavailable(format!("no byte for {} ms", self.settings.idle.as_millis()))
    }
}

impl Provider for OpenAi {
    fn complete<'a>(
        &'a self,
        prompt: &'a Prompt,
        pieces: Pieces,
    ) -> BoxFuture<'a, Result<Reply, Error>> {
        self.answer(prompt, pieces).boxed()
    }
}

/// Ends a stream that has no end.
#[derive(Default)]
struct Guard {
    total: usize,
    event: usize,
}

impl Guard {
    fn check<B: AsRef<[u8]>>(&mut self, bytes: reqwest::Result<B>) -> Result<B, String> {
        let bytes = bytes.map_err(|error| told(&error))?;
        let piece = bytes.as_ref();
        self.total += piece.len();
        self.event = match piece.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => piece.len() - at,
            None => self.event + piece.len(),
        };
        if self.total > MAX_STREAM || self.event > MAX_EVENT {
            return Err("the stream is larger than any reply can be".to_owned());
        }
        Ok(bytes)
    }
}

/// The whole chain of causes, without the URL, which may carry a password.
fn told(error: &reqwest::Error) -> String {
    let mut causes = Vec::new();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let kind = if error.is_connect() { "cannot connect" } else { "connection failed" };
    if causes.is_empty() { kind.to_owned() } else { format!("{kind}: {}", causes.join(": ")) }
}

fn retry_after_ms(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        let within = seconds.clamp(0.0, 3_600.0);
        return Some(Duration::from_secs_f64(within).as_millis() as u64);
    }
    let at = chrono::DateTime::parse_from_rfc2822(text).ok()?;
    u64::try_from((at.to_utc() - chrono::Utc::now()).num_milliseconds().clamp(0, 3_600_000)).ok()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_says_when_to_come_again_in_seconds_or_as_a_date() {
        let wait = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            retry_after_ms(&HeaderMap::from_iter([(RETRY_AFTER, value)]))
        };
        assert_eq!(wait("7"), Some(7_000));
        assert_eq!(wait("0.25"), Some(250));
        assert_eq!(wait("1e99"), Some(3_600_000));
        assert_eq!(wait("Wed, 21 Oct 2015 07:28:00 GMT"), Some(0));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut guard = Guard::default();
        let piece = || Ok(vec![b'x'; 1 << 20]);
        assert!((0..4).all(|_| guard.check(piece()).is_ok()));
        assert!(guard.check(piece()).is_err());
        let mut guard = Guard::default();
        assert!(
            (0..8).all(|_| guard
                .check(piece())
                .and_then(|_| guard.check(Ok(b"\n".to_vec())))
                .is_ok())
        );
    }
}
