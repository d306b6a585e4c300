//! The body of `POST /v1/embeddings` and its answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_contracts::llm::v1::EmbedResponse;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};

/// A request. A field that OpenAI does not know is refused.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingRequest {
    pub(crate) model: String,
    pub(crate) input: AskedInput,
    pub(crate) encoding_format: Option<String>,
    pub(crate) dimensions: Option<u32>,
    #[serde(default, rename = "user")]
    _user: IgnoredAny,
}

/// The texts.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "it must be a text or a list of texts")]
pub(crate) enum AskedInput {
    One(String),
    Several(Vec<String>),
    /// Numbers of tokens, of which only their own model knows what they mean.
    Tokens(Vec<IgnoredAny>),
}

/// An answer.
pub(crate) struct Embeddings;

impl Embeddings {
    /// `base64`: the numbers as little-endian 32-bit floats.
    pub(crate) fn body(response: &EmbedResponse, base64: bool) -> Value {
        let data: Vec<Value> = response
            .vectors
            .iter()
            .enumerate()
            .map(|(index, vector)| {
                let values =
                    if base64 { json!(encode(&vector.values)) } else { json!(vector.values) };
                json!({ "object": "embedding", "index": index, "embedding": values })
            })
            .collect();
        let tokens = response.usage.map_or(0, |usage| usage.input_tokens);
        json!({
            "object": "list",
            "data": data,
            "model": response.model,
            "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
        })
    }
}

fn encode(values: &[f32]) -> String {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}
