//! Google's `generateContent`.

mod request;
mod wire;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::dialect::{Call, Dialect, Framing, Reader, secret};
use super::{Texts, Vectors};
use crate::config::{ProviderSettings, Secret};
use crate::domain::prompt::Prompt;

/// Marks what Gemini signed.
const SIGNED: &str = "gemini:";

pub(super) struct Gemini;

impl Dialect for Gemini {
    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn headers(&self, key: Option<&Secret>) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            // Not in the address, which logs have.
            headers.insert("x-goog-api-key", secret(key.expose())?);
        }
        Ok(headers)
    }

    fn complete(
        &self,
        _settings: &ProviderSettings,
        model: &str,
        prompt: &Prompt,
    ) -> Result<Call, String> {
        let path = format!("{}:streamGenerateContent?alt=sse", path(model));
        Ok(Call { path, body: request::body(prompt, model) })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(wire::Candidates)
    }

    fn embed(&self, model: &str, texts: &Texts) -> Result<Call, String> {
        let path = path(model);
        let body = request::embeddings(path.trim_start_matches('/'), texts);
        Ok(Call { path: format!("{path}:batchEmbedContents"), body })
    }

    fn vectors(&self, answer: Value, model: &str) -> Result<Vectors, String> {
        wire::vectors(answer, model)
    }
}

/// The model's path: names were checked to have no letter that means something in an address but the slash.
fn path(model: &str) -> String {
    if model.contains('/') { format!("/{model}") } else { format!("/models/{model}") }
}
