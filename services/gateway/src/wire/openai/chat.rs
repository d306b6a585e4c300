//! The body of `POST /v1/chat/completions`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::AskedContent;

/// A request. A field that OpenAI does not know is refused, as OpenAI does; within messages and tools it is tolerated.
///
/// Fields that begin with an underscore change nothing here: they are about OpenAI's own storage, billing and caches.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChatRequest {
    pub(crate) model: String,
    pub(crate) messages: Vec<AskedMessage>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    #[serde(default)]
    pub(crate) tools: Option<Vec<AskedTool>>,
    pub(crate) tool_choice: Option<AskedToolChoice>,
    pub(crate) parallel_tool_calls: Option<bool>,
    pub(crate) response_format: Option<AskedFormat>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<u32>,
    pub(crate) max_completion_tokens: Option<u32>,
    pub(crate) stop: Option<AskedStop>,
    pub(crate) seed: Option<i64>,
    pub(crate) n: Option<u32>,
    pub(crate) reasoning_effort: Option<String>,
    // What would change the reply, and cannot be had from every provider: refused unless it is what happens anyway.
    pub(crate) frequency_penalty: Option<f64>,
    pub(crate) presence_penalty: Option<f64>,
    pub(crate) logit_bias: Option<Map<String, Value>>,
    pub(crate) logprobs: Option<bool>,
    pub(crate) top_logprobs: Option<u32>,
    pub(crate) modalities: Option<Vec<String>>,
    pub(crate) audio: Option<Value>,
    pub(crate) prediction: Option<Value>,
    pub(crate) web_search_options: Option<Value>,
    pub(crate) functions: Option<Value>,
    pub(crate) function_call: Option<Value>,
    pub(crate) verbosity: Option<String>,
    #[serde(default, rename = "user")]
    pub(crate) _user: IgnoredAny,
    #[serde(default, rename = "metadata")]
    pub(crate) _metadata: IgnoredAny,
    #[serde(default, rename = "store")]
    pub(crate) _store: IgnoredAny,
    #[serde(default, rename = "service_tier")]
    pub(crate) _service_tier: IgnoredAny,
    #[serde(default, rename = "prompt_cache_key")]
    pub(crate) _prompt_cache_key: IgnoredAny,
    #[serde(default, rename = "prompt_cache_options")]
    pub(crate) _prompt_cache_options: IgnoredAny,
    #[serde(default, rename = "prompt_cache_retention")]
    pub(crate) _prompt_cache_retention: IgnoredAny,
    #[serde(default, rename = "safety_identifier")]
    pub(crate) _safety_identifier: IgnoredAny,
}

/// A message.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedMessage {
    pub(crate) role: String,
    pub(crate) content: Option<AskedContent>,
    pub(crate) refusal: Option<String>,
    pub(crate) tool_calls: Option<Vec<AskedCall>>,
    pub(crate) tool_call_id: Option<String>,
    /// What the model thought, as a reply had it.
    pub(crate) reasoning_content: Option<String>,
    pub(crate) reasoning_signature: Option<String>,
}

/// A call that an assistant asked for.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedCall {
    pub(crate) id: String,
    pub(crate) function: AskedCallOf,
    /// As the reply had it.
    #[serde(default)]
    pub(crate) signature: String,
}

/// Which function, and what with.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedCallOf {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) arguments: String,
}

/// A tool that may be called.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedTool {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) function: Option<AskedFunction>,
}

/// A function of the client.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedFunction {
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Map<String, Value>>,
}

/// Which tool must be called.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "it must be `none`, `auto`, `required`, or {\"type\": \"function\", \"function\": {\"name\": \"..\"}}"
)]
pub(crate) enum AskedToolChoice {
    Word(String),
    Tool(AskedTool),
}

/// What the reply must be.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedFormat {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) json_schema: Option<AskedSchema>,
}

/// A schema with its name.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct AskedSchema {
    pub(crate) schema: Option<Map<String, Value>>,
}

/// Texts that end the reply.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "it must be a text or a list of texts")]
pub(crate) enum AskedStop {
    One(String),
    Several(Vec<String>),
}

/// How a stream is to be.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    #[serde(default)]
    pub(crate) include_usage: Option<bool>,
}
