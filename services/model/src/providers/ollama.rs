//! Ollama's `/api/chat`.

mod request;
mod wire;

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::dialect::{Call, Dialect, Framing, Reader};
use super::openai::bearer;
use super::{Texts, Vectors};
use crate::config::{ProviderSettings, Secret};
use crate::domain::prompt::Prompt;

pub(super) struct Ollama;

impl Dialect for Ollama {
    fn framing(&self) -> Framing {
        Framing::Lines
    }

    fn headers(&self, key: Option<&Secret>) -> Result<HeaderMap, String> {
        bearer(key)
    }

    fn complete(
        &self,
        _settings: &ProviderSettings,
        model: &str,
        prompt: &Prompt,
    ) -> Result<Call, String> {
        Ok(Call { path: "/api/chat".to_owned(), body: request::body(prompt, model)? })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(wire::Lines)
    }

    fn embed(&self, model: &str, texts: &Texts) -> Result<Call, String> {
        let mut body = json!({ "model": model, "input": texts.inputs });
        if let (true, Some(body)) = (texts.dimensions > 0, body.as_object_mut()) {
            body.insert("dimensions".to_owned(), json!(texts.dimensions));
        }
        Ok(Call { path: "/api/embed".to_owned(), body })
    }

    fn vectors(&self, answer: Value, model: &str) -> Result<Vectors, String> {
        wire::vectors(answer, model)
    }
}
