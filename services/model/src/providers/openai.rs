//! OpenAI's chat completions and everything that speaks them: vLLM, LM Studio, Mistral, Groq, OpenRouter.

mod request;
mod wire;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::dialect::{Call, Dialect, Framing, Reader};
use super::{Texts, Vectors};
use crate::config::{ProviderSettings, Secret};
use crate::domain::prompt::Prompt;

pub(super) use self::request::{bearer, tool};

pub(super) struct OpenAi;

impl Dialect for OpenAi {
    fn framing(&self) -> Framing {
        Framing::Events
    }

    fn headers(&self, key: Option<&Secret>) -> Result<HeaderMap, String> {
        bearer(key)
    }

    fn complete(
        &self,
        settings: &ProviderSettings,
        model: &str,
        prompt: &Prompt,
    ) -> Result<Call, String> {
        let body = request::body(prompt, model, settings.is_home());
        Ok(Call { path: "/chat/completions".to_owned(), body })
    }

    fn reader(&self) -> Box<dyn Reader> {
        Box::new(wire::Chunks)
    }

    fn embed(&self, model: &str, texts: &Texts) -> Result<Call, String> {
        Ok(Call { path: "/embeddings".to_owned(), body: request::embeddings(model, texts) })
    }

    fn vectors(&self, answer: Value, model: &str) -> Result<Vectors, String> {
        wire::vectors(answer, model)
    }
}
