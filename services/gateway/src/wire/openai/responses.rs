//! The body of `POST /v1/responses`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

/// A request. A field that OpenAI does not know is refused, as OpenAI does; within items and tools it is tolerated.
///
/// Fields that begin with an underscore change nothing here: they are about OpenAI's own storage, billing and caches.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResponsesRequest {
    pub(crate) model: String,
    pub(crate) input: ItemInput,
    pub(crate) instructions: Option<String>,
    pub(crate) stream: Option<bool>,
    pub(crate) tools: Option<Vec<ResponsesTool>>,
    pub(crate) tool_choice: Option<Value>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) text: Option<TextConfig>,
    pub(crate) reasoning: Option<ReasoningConfig>,
    // What would change the reply, and cannot be had here: refused unless it is what happens anyway.
    pub(crate) previous_response_id: Option<Value>,
    pub(crate) conversation: Option<Value>,
    pub(crate) prompt: Option<Value>,
    pub(crate) background: Option<bool>,
    pub(crate) truncation: Option<String>,
    pub(crate) max_tool_calls: Option<u32>,
    pub(crate) top_logprobs: Option<u32>,
    #[serde(default, rename = "include")]
    _include: IgnoredAny,
    #[serde(default, rename = "store")]
    _store: IgnoredAny,
    #[serde(default, rename = "stream_options")]
    _stream_options: IgnoredAny,
    #[serde(default, rename = "metadata")]
    _metadata: IgnoredAny,
    #[serde(default, rename = "user")]
    _user: IgnoredAny,
    #[serde(default, rename = "service_tier")]
    _service_tier: IgnoredAny,
    #[serde(default, rename = "prompt_cache_key")]
    _prompt_cache_key: IgnoredAny,
    #[serde(default, rename = "prompt_cache_retention")]
    _prompt_cache_retention: IgnoredAny,
    #[serde(default, rename = "safety_identifier")]
    _safety_identifier: IgnoredAny,
}

/// What is asked: a text of the user, or items.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a text, or a list of items such as {\"role\": \"user\", \"content\": \"Hello\"}; something in it has another form"
)]
pub(crate) enum ItemInput {
    Text(String),
    Items(Vec<Item>),
}

impl Default for ItemInput {
    fn default() -> Self {
        Self::Items(Vec::new())
    }
}

/// A message, a call, the result of a call, or what the model thought.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Item {
    /// Absent: a message.
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) content: Option<ItemContent>,
    pub(crate) call_id: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) arguments: Option<String>,
    pub(crate) output: Option<ItemContent>,
    pub(crate) summary: Option<Vec<ItemPart>>,
    pub(crate) encrypted_content: Option<String>,
    /// Of a call, as the reply had it.
    #[serde(default)]
    pub(crate) signature: String,
}

/// What an item says.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be a text, or a list of parts such as {\"type\": \"input_text\", \"text\": \"Hello\"}"
)]
pub(crate) enum ItemContent {
    Text(String),
    Parts(Vec<ItemPart>),
}

/// A part of what an item says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ItemPart {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) text: Option<String>,
    pub(crate) refusal: Option<String>,
    pub(crate) image_url: Option<String>,
}

/// A tool that may be called.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ResponsesTool {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Map<String, Value>>,
}

/// What the reply must be.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct TextConfig {
    pub(crate) format: Option<TextFormat>,
    pub(crate) verbosity: Option<String>,
}

/// A kind of reply, with its schema.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct TextFormat {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) schema: Option<Map<String, Value>>,
}

/// How much the model may think.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ReasoningConfig {
    pub(crate) effort: Option<String>,
}
