//! Anthropic's messages.

mod request;
mod wire;

use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::dialect::{Call, Dialect, Framing, Reader, secret};
use super::{Texts, Vectors};
use crate::config::{ProviderSettings, Secret};
use crate::domain::prompt::Prompt;

/// Marks what Anthropic signed.
const SIGNED: &str = "anthropic:";

pub(super) struct Anthropic;

impl Dialect for Anthropic {
    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn headers(&self, key: Option<&Secret>) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
        if let Some(key) = key {
            headers.insert("x-api-key", secret(key.expose())?);
        }
        Ok(headers)
    }

    fn complete(
        &self,
        settings: &ProviderSettings,
        model: &str,
        prompt: &Prompt,
    ) -> Result<Call, String> {
        // Anthropic's own clients take the address without the version, others with it.
        let versioned = settings.base_url.shown().trim_end_matches('/').ends_with("/v1");
        let path = if versioned { "/messages" } else { "/v1/messages" };
        Ok(Call { path: path.to_owned(), body: request::body(prompt, model)? })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(wire::Blocks::default())
    }

    fn embed(&self, _model: &str, _texts: &Texts) -> Result<Call, String> {
        Err("has no vectors: ask another provider".to_owned())
    }

    fn vectors(&self, _answer: Value, _model: &str) -> Result<Vectors, String> {
        Err("there are none in this dialect".to_owned())
    }
}
