//! What happened in an execution: the entries of its journal.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Input, Interest};

/// One thing that happened.
///
/// Facts carry outcomes, so that applying them never evaluates an expression again: a journal
/// that an older version wrote gives the same state in a newer one. `task` is the key of one run
/// of a task, unique in the execution; see the crate's documentation for its form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Fact {
    /// The execution began.
    ExecutionStarted {
        /// The input as it was given.
        input: Value,
        /// The input after the workflow's `input.from`, where that changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        transformed: Option<Value>,
        /// The task that runs it, where it is a child.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<Parent>,
        /// Whose it is, where it is a tenant's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payer: Option<Payer>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A task began.
    TaskStarted {
        /// Key of this run.
        task: String,
        /// Where the task stands in the document.
        pointer: String,
        /// The task's name.
        name: String,
        /// The task's type: `set`, `call`, `for`, …
        kind: String,
        /// Key of the task around it; empty at the top level.
        parent: String,
        /// How often this task began in its place, counted from 1.
        attempt: u32,
        /// The input after `input.from`, where that changed what the task before it left.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<Value>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A task's `if` was false: it did not run.
    TaskSkipped {
        /// Key of the run that did not happen.
        task: String,
        /// Where the task stands in the document.
        pointer: String,
        /// The task's name.
        name: String,
        /// The task's type.
        kind: String,
        /// Key of the task around it; empty at the top level.
        parent: String,
        /// How often this task was reached in its place, counted from 1.
        attempt: u32,
        /// When.
        at: DateTime<Utc>,
    },
    /// A task ended well.
    TaskCompleted {
        /// Key of the run.
        task: String,
        /// The output after `output.as`, where it is not the data that the task held already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        /// The flow directive that was followed, where it is not `continue`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A task ended with an error.
    TaskFaulted {
        /// Key of the run.
        task: String,
        /// The error.
        error: Error,
        /// When.
        at: DateTime<Utc>,
    },
    /// A task was stopped from outside: a competing branch won, an error or the end came.
    TaskCancelled {
        /// Key of the run.
        task: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// A `try` task caught an error.
    ErrorCaught {
        /// Key of the `try` task.
        task: String,
        /// The error.
        error: Error,
        /// What follows.
        handling: Handling,
    },
    /// A `try` task runs its tasks again.
    TaskRetried {
        /// Key of the `try` task.
        task: String,
        /// Number of the attempt that begins, counted from 1 (so 2 is the first retry).
        attempt: u32,
    },
    /// A `for` task has its collection.
    LoopStarted {
        /// Key of the `for` task.
        task: String,
        /// What it goes over.
        items: Vec<Value>,
    },
    /// A `for` task began an iteration.
    IterationStarted {
        /// Key of the `for` task.
        task: String,
        /// Index of the item, counted from 0.
        index: usize,
    },
    /// A function was called; its result comes as an input.
    CallRequested {
        /// Key of the `call` task.
        task: String,
        /// What kind of function.
        function: Function,
        /// The evaluated arguments.
        arguments: Value,
    },
    /// The result of a call no longer matters.
    CallCancelled {
        /// Key of the `call` task.
        task: String,
    },
    /// A function that the document defines got its arguments.
    FunctionCalled {
        /// Key of the `call` task.
        task: String,
        /// The arguments: the input of the function's task.
        arguments: Value,
    },
    /// A task has its output, and what extends it runs before it ends.
    TaskExtended {
        /// Key of the run.
        task: String,
        /// The output before `output.as`, where that changed it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        raw: Option<Value>,
        /// The output after `output.as`, where it is not the data that the task held already.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        /// The flow directive to follow then, where it is not `continue`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        then: Option<String>,
    },
    /// Another workflow was started.
    ChildRequested {
        /// Key of the `run` task.
        task: String,
        /// The other workflow's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Its version, or `latest`.
        version: String,
        /// Its input.
        input: Value,
        /// Whether the task waits for its end, which comes as an input.
        wait: bool,
    },
    /// The workflow that a task ran goes on, as the task does: its end comes as an input once more.
    ChildResumed {
        /// Key of the `run` task.
        task: String,
    },
    /// The end of a workflow that a task waited for no longer matters.
    ChildCancelled {
        /// Key of the `run` task.
        task: String,
    },
    /// A task listens: the events come as inputs.
    ListeningStarted {
        /// Key of the task.
        task: String,
        /// Which events it may want.
        interests: Vec<Interest>,
        /// What its correlations must be.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        correlations: BTreeMap<String, Value>,
    },
    /// A task that listens took an event.
    EventConsumed {
        /// Key of the task.
        task: String,
        /// The event, as the task sees it.
        consumed: Consumed,
    },
    /// The tasks of `foreach` begin for an item that was consumed.
    ItemStarted {
        /// Key of the task that consumed it.
        task: String,
        /// Index of the item, counted from 0.
        index: usize,
    },
    /// The tasks of `foreach` have ended for the item whose turn it was.
    ItemCompleted {
        /// Key of the task that consumed it.
        task: String,
        /// Index of the item.
        index: usize,
        /// What has come of it, where that is not the item itself.
        #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
        output: Option<Value>,
    },
    /// A task wants no more events.
    ListeningEnded {
        /// Key of the task.
        task: String,
        /// What it was registered for.
        interests: Vec<Interest>,
        /// Items that have not had their turn are dropped.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        discard: bool,
    },
    /// A task that an error had ended listens again, with all that it had consumed.
    ListeningResumed {
        /// Key of the task.
        task: String,
        /// Which events it may want.
        interests: Vec<Interest>,
    },
    /// A signal came that no task listens for; the first that does gets it.
    SignalKept {
        /// Its place among all events.
        position: u64,
        /// The signal as an event.
        event: Value,
    },
    /// A task told the world of an event.
    EventEmitted {
        /// Key of the task.
        task: String,
        /// The event in its structured JSON form.
        event: Value,
    },
    /// A timer was set; that it fired comes as an input.
    TimerSet {
        /// Name of the timer, unique in the execution.
        timer: String,
        /// Key of the task that it belongs to; empty for the workflow's own.
        task: String,
        /// What it is for.
        purpose: Purpose,
        /// When it fires.
        at: DateTime<Utc>,
    },
    /// A timer fired.
    TimerFired {
        /// Name of the timer.
        timer: String,
    },
    /// A timer no longer matters.
    TimerCancelled {
        /// Name of the timer.
        timer: String,
    },
    /// A task's `export.as` replaced the context.
    ContextSet {
        /// Key of the task that exported.
        task: String,
        /// The new context.
        context: Value,
    },
    /// The execution is a fork: the facts before this one are copies of another's.
    ExecutionForked {
        /// The execution that was copied.
        origin: String,
        /// How many of its transitions were copied.
        position: u64,
        /// What was asked for there and is asked for anew here: requests, listenings, and timers
        /// with what was left of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        asked: Vec<Fact>,
        /// When.
        at: DateTime<Utc>,
    },
    /// What flows inside a task was replaced from outside.
    DataSet {
        /// Key of the task; empty for the workflow.
        task: String,
        /// What the next task inside it gets.
        data: Value,
    },
    /// The execution ended well.
    ExecutionCompleted {
        /// The output after the workflow's `output.as`.
        output: Value,
        /// When.
        at: DateTime<Utc>,
    },
    /// The execution ended with an error that nothing caught.
    ExecutionFaulted {
        /// The error.
        error: Error,
        /// When.
        at: DateTime<Utc>,
    },
    /// The execution was cancelled.
    ExecutionCancelled {
        /// Who wanted it and why, as the canceller said.
        reason: String,
        /// When.
        at: DateTime<Utc>,
    },
    /// The execution stands still until it is resumed.
    ExecutionSuspended {
        /// Who wanted it and why, as they said.
        reason: String,
        /// Keys of the tasks that were under way, without those around others.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tasks: Vec<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Something came while the execution stood still; it counts when that goes on.
    InputHeld {
        /// What came.
        input: Input,
    },
    /// A suspended execution goes on.
    ExecutionResumed {
        /// Keys of the tasks that are under way, without those around others.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tasks: Vec<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// A faulted execution goes on. What failed, and what that stopped, begins anew.
    ExecutionRetried {
        /// Keys of the runs that are under way again, as they were: those around what begins anew.
        revived: Vec<String>,
        /// When.
        at: DateTime<Utc>,
    },
    /// Nothing is at work any more: a time or an event is waited for.
    ExecutionWaiting {
        /// Key of a task that waits.
        task: String,
        /// When.
        at: DateTime<Utc>,
    },
}

/// An event that a task took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Consumed {
    /// Its place among all events: what was published first comes first in the output.
    pub position: u64,
    /// Index of the filter that took it.
    pub filter: usize,
    /// It is one of those that end listening, and no part of the output.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub until: bool,
    /// Values of correlations that it is the first to have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub correlations: BTreeMap<String, Value>,
    /// What the task sees of it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub item: Value,
    /// It waits for its turn in `foreach`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

/// A field that is there, null included.
fn given<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// A function of Muster's own that a workflow calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Function {
    /// Runs an agent: `with: {agent, input | prompt}`.
    Agent,
    /// Runs a tool: `with: {tool, arguments}`.
    Tool,
    /// Asks a model: `with: {model, prompt | messages}`.
    Model,
    /// Searches a collection: `with: {collection, query}`.
    Search,
    /// Fills a prompt template: `with: {template | stage, version, vars}`.
    Template,
    /// Sends an HTTP request: `with: {method, endpoint}`.
    Http,
    /// Calls an operation that an OpenAPI document describes: `with: {document, operationId}`.
    Openapi,
    /// Calls a method of an MCP server: `with: {method, transport}`.
    Mcp,
    /// Calls a method of an A2A agent: `with: {method, agentCard | server}`.
    A2a,
    /// Runs a program: `run: {script | shell}`.
    Run,
}

impl Function {
    /// Whether it goes to a server or a program outside, where secrets may be used.
    pub fn is_outward(self) -> bool {
        match self {
            Function::Agent
            | Function::Tool
            | Function::Model
            | Function::Search
            | Function::Template => false,
            Function::Http | Function::Openapi | Function::Mcp | Function::A2a | Function::Run => {
                true
            }
        }
    }

    /// The name as it stands after `call:`; `run` for programs.
    pub fn name(self) -> &'static str {
        match self {
            Function::Agent => "agent",
            Function::Tool => "tool",
            Function::Model => "model",
            Function::Search => "search",
            Function::Template => "template",
            Function::Http => "http",
            Function::Openapi => "openapi",
            Function::Mcp => "mcp",
            Function::A2a => "a2a",
            Function::Run => "run",
        }
    }
}

/// Whose an execution is, and who pays for what it does. It means nothing to the engine, which keeps
/// it and hands it on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payer {
    /// The tenant.
    pub tenant: String,
    /// The tenant's key that the execution was started with; empty where it was none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub key_id: String,
}

/// The task that runs an execution as its child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The execution that the task belongs to.
    pub execution: String,
    /// Key of the task there.
    pub task: String,
    /// How many executions are around the child: 1 where its parent has no parent.
    pub depth: u32,
    /// The task does not wait for the child's end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub detached: bool,
}

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// A `wait` task.
    Wait,
    /// The pause before a retry.
    Retry,
    /// The time limit of a task or of the workflow.
    Timeout,
    /// The time limit of one attempt of a `try`.
    Attempt,
    /// How long messages are consumed.
    Listen,
}

/// What follows a caught error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handling {
    /// The `try` tasks run again, after a pause.
    Retry,
    /// The `catch.do` tasks run.
    Do,
    /// Nothing: the error is swallowed.
    Ignore,
}
