//! What a test lets the model say.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

/// One answer of the model: text, tool calls, or a failure.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub(super) text: String,
    pub(super) tool_calls: Vec<(String, Value)>,
    pub(super) usage: Option<(u64, u64)>,
    pub(super) failure: Option<(StatusCode, String)>,
    pub(super) retry_after: Option<u64>,
    pub(super) cut_after: Option<usize>,
    pub(super) pause: Duration,
}

impl Answer {
    /// A text; streamed word by word.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// A call of one tool; streamed with its arguments split over several chunks.
    pub fn tool_call(name: impl Into<String>, arguments: Value) -> Self {
        Self::default().and_tool_call(name, arguments)
    }

    /// An error status with OpenAI's error body.
    pub fn failure(status: StatusCode, message: impl Into<String>) -> Self {
        Self { failure: Some((status, message.into())), ..Self::default() }
    }

    /// Status 429 with a `Retry-After` header in seconds.
    pub fn too_many_requests(retry_after_seconds: u64) -> Self {
        let refusal = Self::failure(StatusCode::TOO_MANY_REQUESTS, "rate limit reached");
        Self { retry_after: Some(retry_after_seconds), ..refusal }
    }

    /// A further tool call in the same answer.
    #[must_use]
    pub fn and_tool_call(mut self, name: impl Into<String>, arguments: Value) -> Self {
        self.tool_calls.push((name.into(), arguments));
        self
    }

    /// The usage that the answer reports; without it, words are counted as tokens.
    #[must_use]
    pub fn usage(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        self.usage = Some((input_tokens, output_tokens));
        self
    }

    /// Breaks the connection after so many chunks of a stream (or instead of a whole answer).
    #[must_use]
    pub fn cut_after(mut self, chunks: usize) -> Self {
        self.cut_after = Some(chunks);
        self
    }

    /// Waits so long before each chunk of a stream, or before a whole answer.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }
}
