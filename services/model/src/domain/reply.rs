//! A reply while it arrives, and when it is whole.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{ChatMessage, ChatTool, TokenUsage, ToolCall};
use serde_json::Value;

use super::tokens;
use super::usage::Told;

/// The largest reply, in bytes of its text and of its calls.
pub(crate) const MAX_REPLY: usize = 1 << 20;
/// The most calls of one reply.
const MAX_CALLS: usize = 128;

/// Bytes of a thought that nobody can read, for each of its tokens: some four letters, sealed and in base64. Rather fewer than are true.
const HIDDEN_BYTES_PER_TOKEN: usize = 4;

/// What a model said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reply {
    pub(crate) message: ChatMessage,
    /// stop, length, tool_calls or content_filter.
    pub(crate) finish_reason: String,
    pub(crate) usage: Told,
    /// The model's name as the provider gives it.
    pub(crate) model: String,
}

impl Reply {
    /// The usage; what the provider did not say of it is counted by our tokenizer.
    pub(crate) fn usage(&self, messages: &[ChatMessage], tools: &[ChatTool]) -> TokenUsage {
        self.usage.or_counted(|| tokens::estimate(messages, tools, (&self.model, &self.message)))
    }
}

/// A tool call while its pieces arrive.
#[derive(Clone, Default)]
pub(crate) struct PartialCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    /// What the provider wants to have back with the call.
    pub(crate) signature: String,
}

/// A reply while its pieces arrive.
#[derive(Clone, Default)]
pub(crate) struct PartialReply {
    has_begun: bool,
    /// Bytes of what the model thought that nobody can read.
    hidden: usize,
    text: String,
    reasoning: String,
    calls: Vec<PartialCall>,
    size: usize,
    /// What the provider wants to have back beside the reasoning.
    pub(crate) reasoning_signature: String,
    /// In OpenAI's words.
    pub(crate) finish_reason: Option<String>,
    pub(crate) usage: Told,
    pub(crate) model: String,
}

/// The reply is larger than a reply may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

impl PartialReply {
    pub(crate) fn push_text(&mut self, delta: &str) -> Result<(), TooLarge> {
        self.grow(delta.len())?;
        self.text.push_str(delta);
        Ok(())
    }

    /// Adds to what the model thought before it answered.
    pub(crate) fn push_reasoning(&mut self, delta: &str) -> Result<(), TooLarge> {
        self.grow(delta.len())?;
        self.reasoning.push_str(delta);
        Ok(())
    }

    /// Adds to what the model thought that nobody can read.
    pub(crate) fn push_hidden(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.hidden += bytes;
        self.grow(bytes)
    }

    /// The provider began to answer: from now on the prompt is paid for.
    pub(crate) const fn begin(&mut self) {
        self.has_begun = true;
    }

    /// The usage of a reply that broke off: what the provider told of it, and of the rest what was received. Nothing where nothing was.
    /// `input` is the prompt, where the provider did not tell it; the reply was allowed at most `most` tokens.
    pub(crate) fn cut_off(&self, input: impl FnOnce() -> u32, most: u32) -> TokenUsage {
        let told = self.usage.known();
        let is_final = self.usage.is_whole() && self.finish_reason.is_some();
        if is_final || !(self.has_begun || self.size > 0) {
            return told;
        }
        let (said, thought) = self.count();
        // Some tell the usage of what they have sent so far, some with the beginning only.
        let output_tokens = said.saturating_add(thought).min(most).max(told.output_tokens);
        TokenUsage {
            input_tokens: if told.input_tokens > 0 { told.input_tokens } else { input() },
            output_tokens,
            reasoning_tokens: thought.max(told.reasoning_tokens).min(output_tokens),
            estimated: true,
            ..told
        }
    }

    /// The tokens of what was said and of what was thought.
    fn count(&self) -> (u32, u32) {
        let calls = self.calls.iter().map(|call| {
            tokens::PER_MESSAGE + tokens::count(&call.name) + tokens::count(&call.arguments)
        });
        let said = tokens::count(&self.text) + calls.sum::<usize>();
        let thought = tokens::count(&self.reasoning) + self.hidden.div_ceil(HIDDEN_BYTES_PER_TOKEN);
        let small = |tokens: usize| u32::try_from(tokens).unwrap_or(u32::MAX);
        (small(said), small(thought))
    }

    /// What the model thought so far.
    pub(crate) fn reasoning(&self) -> &str {
        &self.reasoning
    }

    /// Whether there is anything that is not thought.
    pub(crate) const fn has_said(&self) -> bool {
        !self.text.is_empty() || !self.calls.is_empty()
    }

    /// How many calls there are so far.
    pub(crate) const fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Adds a piece of the call with this index; indices come in their order.
    pub(crate) fn push_call(&mut self, index: usize, piece: &PartialCall) -> Result<(), TooLarge> {
        let size = piece.id.len() + piece.name.len() + piece.arguments.len();
        self.grow(size + piece.signature.len())?;
        if index >= MAX_CALLS {
            return Err(TooLarge);
        }
        while self.calls.len() <= index {
            self.calls.push(PartialCall::default());
        }
        if let Some(call) = self.calls.get_mut(index) {
            // Some servers repeat id and name in every piece.
            if call.id.is_empty() {
                call.id.clone_from(&piece.id);
            }
            if call.name.is_empty() {
                call.name.clone_from(&piece.name);
            }
            call.arguments.push_str(&piece.arguments);
            call.signature.push_str(&piece.signature);
        }
        Ok(())
    }

    /// Counts bytes that the reply keeps.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.size += bytes;
        if self.size > MAX_REPLY { Err(TooLarge) } else { Ok(()) }
    }

    /// The whole reply.
    pub(crate) fn finish(mut self, asked_model: &str) -> Reply {
        if self.usage.output.is_none() && self.hidden > 0 {
            // Who counts the rest does not see it.
            let (_, thought) = self.count();
            self.usage.reasoning = self.usage.reasoning.max(Some(thought));
        }
        let tool_calls: Vec<ToolCall> = self
            .calls
            .into_iter()
            .filter(|call| !call.name.is_empty())
            .enumerate()
            .map(whole)
            .collect();
        let reason = self.finish_reason.unwrap_or_default();
        let finish_reason = match reason.as_str() {
            // Some servers say `stop` and call tools, or still say `function_call`.
            _ if !tool_calls.is_empty() && reason != "length" => "tool_calls",
            "length" => "length",
            "content_filter" => "content_filter",
            _ => "stop",
        };
        Reply {
            message: ChatMessage {
                role: "assistant".to_owned(),
                content: self.text,
                tool_calls,
                reasoning: self.reasoning,
                reasoning_signature: self.reasoning_signature,
                ..Default::default()
            },
            finish_reason: finish_reason.to_owned(),
            usage: self.usage,
            model: if self.model.is_empty() { asked_model.to_owned() } else { self.model },
        }
    }
}

fn whole((at, call): (usize, PartialCall)) -> ToolCall {
    let id = if call.id.is_empty() { format!("call_{}", at + 1) } else { call.id };
    let text = call.arguments.trim();
    // A call without arguments is sent as nothing by some models.
    let parsed = if text.is_empty() {
        Ok(Value::Object(Default::default()))
    } else {
        serde_json::from_str(text)
    };
    match parsed {
        Ok(Value::Object(arguments)) => ToolCall {
            id,
            name: call.name,
            arguments: Some(JsonObject(arguments)),
            signature: call.signature,
            ..ToolCall::default()
        },
        _ => ToolCall {
            id,
            name: call.name,
            invalid_arguments: call.arguments,
            signature: call.signature,
            ..ToolCall::default()
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn piece(id: &str, name: &str, arguments: &str) -> PartialCall {
        PartialCall {
            id: id.into(),
            name: name.into(),
            arguments: arguments.into(),
            ..PartialCall::default()
        }
    }

    #[test]
    fn calls_are_put_together_from_their_pieces() {
        let mut reply = PartialReply::default();
        reply.push_call(0, &piece("a", "search", "")).unwrap();
        reply.push_call(0, &piece("", "", "{\"query\":")).unwrap();
        reply.push_call(1, &piece("b", "echo", "{\"value\":")).unwrap();
        reply.push_call(0, &piece("a", "search", "9007199254740993}")).unwrap();
        reply.push_call(2, &piece("", "stats", "")).unwrap();
        let reply = reply.finish("m");
        let calls = &reply.message.tool_calls;
        let arguments = calls[0].arguments.clone().unwrap().into_value();
        assert_eq!(arguments, json!({ "query": 9_007_199_254_740_993_u64 }));
        assert_eq!(
            (calls[1].arguments.is_none(), calls[1].invalid_arguments.as_str()),
            (true, "{\"value\":")
        );
        assert_eq!((calls[2].id.as_str(), calls[2].arguments.is_some()), ("call_3", true));
        assert_eq!(reply.finish_reason, "tool_calls");
    }

    #[test]
    fn what_was_told_of_a_reply_that_broke_off_comes_before_what_was_received() {
        let cut = |reply: &PartialReply, most| {
            let usage = reply.cut_off(|| 7, most);
            (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.estimated)
        };
        let mut reply = PartialReply::default();
        assert_eq!(cut(&reply, 100), (0, 0, 0, false));
        reply.begin();
        assert_eq!(cut(&reply, 100), (7, 0, 0, true));
        reply.push_text("hello world").unwrap();
        reply.push_hidden(9).unwrap();
        assert_eq!(cut(&reply, 100), (7, 5, 3, true));
        // The provider counts otherwise, but makes no more than it may.
        assert_eq!(cut(&reply, 4), (7, 4, 3, true));
        let told = |input_tokens, output_tokens| {
            Told::from(TokenUsage { input_tokens, output_tokens, ..Default::default() })
        };
        reply.usage = told(90, 1);
        assert_eq!(cut(&reply, 100), (90, 5, 3, true));
        reply.usage = told(90, 30);
        assert_eq!(cut(&reply, 4), (90, 30, 3, true));
        reply.finish_reason = Some("stop".into());
        reply.usage = told(90, 2);
        assert_eq!(cut(&reply, 100), (90, 2, 0, false));
    }

    #[test]
    fn a_reply_without_end_is_refused() {
        let mut reply = PartialReply::default();
        assert_eq!(reply.push_text(&"x".repeat(MAX_REPLY)), Ok(()));
        assert_eq!(reply.push_text("x"), Err(TooLarge));
        assert_eq!(
            PartialReply::default().push_call(100_000_000, &piece("", "x", "")),
            Err(TooLarge)
        );
    }
}
