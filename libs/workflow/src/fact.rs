//! What happened in an execution: the entries of its journal.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Error;

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
}

impl Function {
    /// The name as it stands after `call:`.
    pub fn name(self) -> &'static str {
        match self {
            Function::Agent => "agent",
            Function::Tool => "tool",
            Function::Model => "model",
            Function::Search => "search",
        }
    }
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
