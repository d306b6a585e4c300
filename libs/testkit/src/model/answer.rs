//! What a test lets the model say.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

/// One answer of the model: text, tool calls, or a failure. It is told in the dialect of whoever asks.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    pub(super) text: String,
    pub(super) reasoning: String,
    pub(super) tool_calls: Vec<(String, Value)>,
    pub(super) usage: Option<(u64, u64)>,
    pub(super) thought: u64,
    pub(super) cached: u64,
    pub(super) finish: Option<Finish>,
    pub(super) failure: Option<(StatusCode, String)>,
    pub(super) retry_after: Option<u64>,
    pub(super) breakage: Option<(usize, Breakage)>,
    pub(super) split: Option<usize>,
    pub(super) pause: Duration,
}

/// Why a model says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// It has said all.
    Stop,
    /// The reply reached its longest.
    Length,
    /// It will not say this.
    Filtered,
}

/// What goes wrong in the middle of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breakage {
    /// The connection breaks.
    Cut,
    /// The stream ends as if all were said.
    End,
    /// Nothing comes any more, and the connection stays.
    Silence,
    /// An error in the dialect's form, with this message.
    Error(String),
    /// This text in place of an event.
    Garbage(String),
    /// The piece before is said again and again without an end.
    Endless,
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

    /// An error status with the dialect's error body.
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

    /// What the model thinks before it answers.
    #[must_use]
    pub fn reasoning(mut self, text: impl Into<String>) -> Self {
        self.reasoning = text.into();
        self
    }

    /// The usage that the answer reports; without it, words are counted as tokens.
    #[must_use]
    pub fn usage(mut self, input_tokens: u64, output_tokens: u64) -> Self {
        self.usage = Some((input_tokens, output_tokens));
        self
    }

    /// How many of the output tokens were thought, and how many of the input tokens the provider's cache knew. Anthropic does not tell the first.
    #[must_use]
    pub fn of_which(mut self, thought: u64, cached: u64) -> Self {
        self.thought = thought;
        self.cached = cached;
        self
    }

    /// Why it says no more; without it, because it has said all or calls tools.
    #[must_use]
    pub fn finish(mut self, finish: Finish) -> Self {
        self.finish = Some(finish);
        self
    }

    /// Breaks the connection after so many chunks of a stream (or instead of a whole answer).
    #[must_use]
    pub fn cut_after(self, chunks: usize) -> Self {
        self.break_after(chunks, Breakage::Cut)
    }

    /// Lets this go wrong after so many chunks of a stream.
    #[must_use]
    pub fn break_after(mut self, chunks: usize, breakage: Breakage) -> Self {
        self.breakage = Some((chunks, breakage));
        self
    }

    /// Sends so many bytes at a time, wherever that cuts.
    #[must_use]
    pub fn split(mut self, bytes: usize) -> Self {
        self.split = Some(bytes.max(1));
        self
    }

    /// Waits so long before each chunk of a stream, or before a whole answer.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The output tokens, by default its words.
    pub(super) fn counts(&self, request: &Value) -> (u64, u64) {
        let words = |text: &str| text.split_whitespace().count() as u64;
        let asked = ["messages", "contents"].iter().find_map(|field| request.get(*field));
        let asked = asked.map_or(0, |messages| words(&messages.to_string()));
        let said = words(&self.text)
            + self.tool_calls.iter().map(|(_, call)| words(&call.to_string())).sum::<u64>();
        self.usage.unwrap_or((asked, said))
    }
}

/// Splits at every eighth character: what a client must put together again.
pub(super) fn pieces(text: &str) -> Vec<String> {
    let characters: Vec<char> = text.chars().collect();
    characters.chunks(8).map(|piece| piece.iter().collect()).collect()
}
