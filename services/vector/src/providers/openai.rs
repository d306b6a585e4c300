//! Any server with OpenAI's `/embeddings` endpoint.

use std::fmt;
use std::time::Duration;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::RETRY_AFTER;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::{Embedder, Embedding, Error};

/// Texts in one request: far below what servers take (OpenAI: 2048 texts, 300,000 tokens).
const BATCH: usize = 64;

/// A batch takes about a second on a hosted model; a small machine of one's own needs longer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the endpoint is and what it is asked for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Such as `https://api.openai.com/v1`, without `/embeddings`.
    pub(crate) base_url: String,
    /// Absent for servers that want none.
    pub(crate) api_key: Option<String>,
    pub(crate) model: String,
    /// A shorter vector than the model's own, where the model can do that.
    pub(crate) dimensions: Option<u32>,
}

impl fmt::Debug for Settings {
    // The key must not reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("model", &self.model)
            .field("dimensions", &self.dimensions)
            .finish_non_exhaustive()
    }
}

/// Asks an OpenAI-compatible server.
pub(crate) struct OpenAi {
    client: reqwest::Client,
    settings: Settings,
}

#[derive(Deserialize)]
struct Reply {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    index: usize,
    embedding: Embedding,
}

impl OpenAi {
    /// Makes the client; asks nothing yet.
    pub(crate) fn new(settings: Settings) -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(5))
            .build()
            .context("cannot make an HTTP client for embeddings")?;
        Ok(Self { client, settings })
    }

    async fn batch(&self, texts: &[String]) -> Result<Vec<Embedding>, Error> {
        let url = format!("{}/embeddings", self.settings.base_url.trim_end_matches('/'));
        let mut body = json!({
            "model": self.settings.model, "input": texts, "encoding_format": "float"
        });
        if let (Some(dimensions), Some(body)) = (self.settings.dimensions, body.as_object_mut()) {
            body.insert("dimensions".to_owned(), dimensions.into());
        }
        let mut request = self.client.post(url).json(&body);
        if let Some(key) = &self.settings.api_key {
            request = request.bearer_auth(key);
        }
        let response = request.send().await.map_err(|error| self.unreachable(error))?;
        if !response.status().is_success() {
            return Err(self.refusal(response).await);
        }
        let body = response.bytes().await.map_err(|error| self.unreachable(error))?;
        let reply: Reply =
            serde_json::from_slice(&body).map_err(|error| self.nonsense(error.to_string()))?;
        self.in_order(reply, texts.len())
    }

    fn in_order(&self, mut reply: Reply, expected: usize) -> Result<Vec<Embedding>, Error> {
        reply.data.sort_by_key(|item| item.index);
        let complete = reply.data.len() == expected
            && reply.data.iter().enumerate().all(|(place, item)| place == item.index);
        if !complete {
            let got = reply.data.len();
            return Err(self.nonsense(format!("{got} vectors for {expected} texts")));
        }
        let length = reply.data.first().map_or(0, |item| item.embedding.len());
        let odd = |item: &Item| {
            item.embedding.len() != length || !item.embedding.iter().all(|n| n.is_finite())
        };
        if length == 0 || reply.data.iter().any(odd) {
            return Err(self.nonsense("vectors of no or different lengths".to_owned()));
        }
        Ok(reply.data.into_iter().map(|item| item.embedding).collect())
    }

    async fn refusal(&self, response: Response) -> Error {
        let (model, status) = (self.settings.model.clone(), response.status());
        let retry_after_ms = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
            .map_or(1000, |seconds| seconds.saturating_mul(1000));
        // A body that cannot be read adds nothing to the status.
        let text = response.text().await.unwrap_or_default();
        let reason = reason(&text);
        match status {
            StatusCode::TOO_MANY_REQUESTS => Error::RateLimited { model, reason, retry_after_ms },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Error::Refused { model, status: status.as_u16(), reason }
            }
            StatusCode::REQUEST_TIMEOUT => {
                Error::Troubled { model, status: status.as_u16(), reason }
            }
            _ if status.is_client_error() => {
                Error::Rejected { model, status: status.as_u16(), reason }
            }
            _ => Error::Troubled { model, status: status.as_u16(), reason },
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let chain = anyhow::Error::new(error);
        Error::Unreachable { model: self.settings.model.clone(), reason: format!("{chain:#}") }
    }

    fn nonsense(&self, reason: String) -> Error {
        Error::Nonsense { model: self.settings.model.clone(), reason }
    }
}

impl Embedder for OpenAi {
    fn name(&self) -> &str {
        &self.settings.model
    }

    fn embed<'a>(&'a self, texts: &'a [String]) -> BoxFuture<'a, Result<Vec<Embedding>, Error>> {
        async move {
            let mut all = Vec::with_capacity(texts.len());
            for batch in texts.chunks(BATCH) {
                all.extend(self.batch(batch).await?);
            }
            Ok(all)
        }
        .boxed()
    }
}

/// `error.message` of OpenAI's errors, or the beginning of whatever came.
fn reason(body: &str) -> String {
    let json: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let message = json.pointer("/error/message").and_then(|message| message.as_str());
    message.unwrap_or(body).trim().chars().take(300).collect()
}
