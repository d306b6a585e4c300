//! What a run's journal records.

use muster_contracts::{
    Code,
    agent::v1::{AgentDefinition, Usage},
    llm::v1::{ChatMessage, TokenUsage},
    tool::v1::ToolDefinition,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One step of a run. A fact carries its outcome: replaying it asks nobody again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "facts are read one at a time, and few are kept")]
pub(crate) enum Fact {
    /// The run began.
    RunStarted(Started),
    /// The model did not answer a turn yet, and will be asked again. Changes nothing: it is for who follows the run.
    ModelDelayed {
        /// The turn, from 1.
        turn: u32,
        /// How often it was asked for.
        attempt: u32,
        /// What kind of error.
        code: Code,
        /// What was wrong.
        error: String,
        /// When it is asked again, in milliseconds.
        retry_in_ms: u32,
    },
    /// The oldest of the conversation went, because it outgrew the model's window.
    ContextCut {
        /// The turn that was to be asked.
        turn: u32,
        /// The place of the first message that went.
        from: u32,
        /// How many messages went.
        messages: u32,
        /// What the question had before, in tokens.
        tokens: u32,
    },
    /// A summary stands where the oldest of the conversation was.
    ContextSummarised(Summarised),
    /// The model answered one turn.
    ModelReplied(Replied),
    /// A tool answered one call, or could not.
    ToolReturned(Returned),
    /// The model's answer cannot be passed on; the model may mend it, once.
    AnswerRefused {
        /// What it must mend.
        flaw: String,
    },
    /// The run ended well.
    RunCompleted {
        /// The notice of the deliverable.
        output: Value,
        /// What the run spent and saved.
        usage: Usage,
    },
    /// The run was stopped: nobody waits for its answer any more.
    RunCancelled {
        /// What the run spent until then.
        #[serde(default)]
        usage: Usage,
    },
    /// The run ended with an error.
    RunFailed {
        /// What kind of error.
        code: Code,
        /// What was wrong.
        error: String,
        /// What the run spent until then.
        #[serde(default)]
        usage: Usage,
    },
}

/// All that the run stays on for its whole life, whatever is registered later.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// The agent.
    pub(crate) definition: AgentDefinition,
    /// The tools that the model is offered, in the definition's order.
    #[serde(default)]
    pub(crate) tools: Vec<ToolDefinition>,
    /// What the agent is asked.
    #[serde(default)]
    pub(crate) input: Value,
    /// What was said before in its thread.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<ChatMessage>,
    /// What this run does differently from what is registered; the definition above has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overrides: Option<Value>,
    /// What the deliverables named in the input would cost if they were pasted.
    #[serde(default)]
    pub(crate) pasted_tokens: u32,
    /// What their notices cost instead.
    #[serde(default)]
    pub(crate) notice_tokens: u32,
}

/// What the model made of the oldest of a conversation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summarised {
    /// The turn that was to be asked.
    pub(crate) turn: u32,
    /// The place of the first message that the summary replaces.
    pub(crate) from: u32,
    /// How many messages it replaces.
    pub(crate) messages: u32,
    /// What the question had before, in tokens.
    pub(crate) tokens: u32,
    /// The summary.
    pub(crate) summary: String,
    /// What the summary took.
    #[serde(default)]
    pub(crate) usage: TokenUsage,
    /// What it cost, in billionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(crate) cost_nanos: u64,
}

/// One reply of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Replied {
    /// The turn, from 1.
    pub(crate) turn: u32,
    /// What it said and which tools it asks for.
    pub(crate) message: ChatMessage,
    /// stop, length, tool_calls or content_filter.
    #[serde(default)]
    pub(crate) finish_reason: String,
    /// What the reply cost.
    #[serde(default)]
    pub(crate) usage: TokenUsage,
    /// Who answered.
    #[serde(default)]
    pub(crate) provider: String,
    /// With which model.
    #[serde(default)]
    pub(crate) model: String,
    /// What it cost by the price table, in billionths of a US dollar.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub(crate) cost_nanos: u64,
    /// The response cache answered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) cached: bool,
    /// The reply was bought by an earlier request with the same key.
    #[serde(default)]
    pub(crate) replayed: bool,
    /// How long the agent waited for it.
    #[serde(default)]
    pub(crate) duration_ms: u32,
}

/// What one tool call came to: a result, or an error that the model is told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Returned {
    /// The turn that asked for it.
    pub(crate) turn: u32,
    /// Its place among the calls of that turn, from 0.
    pub(crate) index: u32,
    /// The call's id.
    pub(crate) call_id: String,
    /// The tool.
    pub(crate) name: String,
    /// What it returned; absent where it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) result: Option<Value>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What kind of error the tool had; absent where the call itself was wrong, or went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<Code>,
    /// How long the agent waited for it.
    #[serde(default)]
    pub(crate) duration_ms: u32,
    /// The result was recorded by an earlier call with the same key.
    #[serde(default)]
    pub(crate) replayed: bool,
    /// Tokens of a deliverable that the call fetched.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) fetched_tokens: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_nothing(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
