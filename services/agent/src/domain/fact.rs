//! What a run's journal records.

use chrono::{DateTime, Utc};
use muster_contracts::{
    Code,
    agent::v1::{AgentDefinition, AgentExecutionRequested, Usage},
    llm::v1::{ChatMessage, TokenUsage},
    tool::v1::ToolDefinition,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::approval::{Asked, Decided};

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
    /// A call waits for somebody's approval.
    ApprovalRequested(Asked),
    /// Nobody has decided in time: others are asked.
    ApprovalEscalated(Asked),
    /// A call was approved or rejected.
    ApprovalDecided(Decided),
    /// Another agent answers a call in a run of its own.
    AgentAsked(AgentAsked),
    /// Another agent goes on with the run.
    HandedOff(Box<HandedOff>),
    /// A program on the bus, which is the agent, has the run as a task.
    TaskAssigned(TaskAssigned),
    /// The program has ended its task.
    TaskEnded(TaskEnded),
    /// The run stands still, in no process, until what it waits for comes.
    RunSuspended,
    /// The run goes on.
    RunResumed {
        /// The message that goes on with it.
        cause: String,
    },
    /// Something came for the run while a process was busy with it: that looks again before the run stands still.
    RunWoken {
        /// What came.
        cause: String,
    },
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
    /// The command that began the run, without its input: whoever goes on with the run later has it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<AgentExecutionRequested>,
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

/// A run of another agent that answers a call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct AgentAsked {
    /// The turn that asked for the call.
    pub(crate) turn: u32,
    /// Its place among the calls of that turn, from 0.
    pub(crate) index: u32,
    /// The other agent.
    pub(crate) asked: String,
    /// The task of its run.
    pub(crate) asked_task: String,
}

/// The agent that goes on with the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct HandedOff {
    /// The turn that asked for it.
    pub(crate) turn: u32,
    /// The place of the call, from 0.
    pub(crate) index: u32,
    /// Who goes on.
    pub(crate) definition: AgentDefinition,
    /// The tools that its model is offered.
    #[serde(default)]
    pub(crate) tools: Vec<ToolDefinition>,
}

/// A task of a program on the bus.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskAssigned {
    /// The task.
    pub(crate) task_id: String,
    /// The agent that the program is.
    pub(crate) assignee: String,
    /// When it was given.
    pub(crate) assigned_at: DateTime<Utc>,
    /// When it must have ended.
    pub(crate) expires_at: DateTime<Utc>,
}

/// How a task of a program ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TaskEnded {
    /// What it answered.
    #[serde(default)]
    pub(crate) output: Value,
    /// Why it failed; absent: it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// What kind of error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<Code>,
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
    /// What the run of another agent spent that answered the call: a part of what this run spends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
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
