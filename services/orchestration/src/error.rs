//! What can go wrong.

use muster_contracts::workflow::v1::WorkflowCheck;
use muster_contracts::{Code, Fault, HasCode};
use muster_workflow::Problems;
use serde_json::{Value, json};

/// When an execution that found no room for its slow expressions comes again, in milliseconds.
const CROWDED_RETRY_MS: u64 = 1_000;

/// An error of the orchestration service.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is not a workflow that this version can run.
    #[error("not a workflow that can run: {0}")]
    Problems(Problems),
    /// A task names an agent that is not registered.
    #[error(
        "{pointer} calls the agent {agent:?}, which is not registered: PUT /v1/agents/{agent} first"
    )]
    UnknownAgent {
        /// The agent.
        agent: String,
        /// The task's pointer in the document.
        pointer: String,
    },
    /// A secret that the workflow declares is not there.
    #[error(
        "{pointer} declares the secret {secret:?}, which is not there: the operator has to put it, as a file of that name, into the folder MUSTER_SECRETS_DIR of the tool service"
    )]
    UnknownSecret {
        /// The secret.
        secret: String,
        /// The pointer of its name in the document.
        pointer: String,
    },
    /// A task runs a workflow that is not registered.
    #[error(
        "{pointer} runs the workflow {workflow}, which is not registered: PUT /v1/workflows first"
    )]
    UnknownChild {
        /// The workflow: namespace, name and version.
        workflow: String,
        /// The task's pointer in the document.
        pointer: String,
    },
    /// This version is registered with other contents.
    #[error(
        "workflow {name:?} version {version:?} is registered with other contents: raise document.version"
    )]
    VersionTaken {
        /// The workflow.
        name: String,
        /// The version.
        version: String,
    },
    /// Executions that run would have gone another way on a new version, or nobody knows.
    #[error("{}", differs_text(*.differ, .check))]
    Differs {
        /// How many of them would have gone another way.
        differ: usize,
        /// What would have been different; of some, where they are many.
        check: Box<WorkflowCheck>,
    },
    /// The name belongs to another namespace.
    #[error(
        "workflow {name:?} belongs to the namespace {registered:?}, not to {given:?}: choose another name"
    )]
    NameTaken {
        /// The workflow.
        name: String,
        /// The namespace that has it.
        registered: String,
        /// The namespace that wants it.
        given: String,
    },
    /// No such workflow.
    #[error("workflow {name:?}{} is not registered: {hint}", version_text(.version))]
    UnknownWorkflow {
        /// The workflow.
        name: String,
        /// The version; empty where any would do.
        version: String,
        /// What may have been meant, and what would be right.
        hint: String,
    },
    /// No definition with this digest.
    #[error("no workflow definition has the digest {0:?}")]
    UnknownDigest(String),
    /// No such execution.
    #[error("execution {0:?} is not there")]
    UnknownExecution(String),
    /// The execution's status does not allow it.
    #[error("{0}")]
    WrongState(String),
    /// A command that no version knows.
    #[error("the action is {0:?}, but it must be cancel, suspend, resume or retry")]
    UnknownAction(String),
    /// An execution has fewer transitions.
    #[error(
        "execution {execution:?} has {there} transitions, so that there is no position {position}"
    )]
    Position {
        /// The execution.
        execution: String,
        /// The position that was wanted.
        position: u64,
        /// How many transitions there are.
        there: usize,
    },
    /// An execution cannot go on as another one from there.
    #[error("it cannot be forked: {0}")]
    Fork(muster_workflow::ForkError),
    /// What a fork is to change makes no sense.
    #[error("{0}")]
    Changes(String),
    /// The id of a new execution belongs to another one.
    #[error(
        "execution {0:?} is there with other contents: choose another id (that of a fork follows from its Idempotency-Key)"
    )]
    ExecutionTaken(String),
    /// A file that is no exported execution.
    #[error("the file is no execution: {0}")]
    File(String),
    /// The execution's start is still on its way, or there is none.
    #[error("execution {0:?} has not begun")]
    NotBegun(String),
    /// The next time of a schedule cannot be told now.
    #[error("the next start of the workflow {workflow:?} cannot be planned: {reason}")]
    Unplanned {
        /// The workflow.
        workflow: String,
        /// Why.
        reason: String,
    },
    /// Another replica kept winning.
    #[error("execution {0:?} is busy")]
    Busy(String),
    /// Its expressions take long, and so do those of many others.
    #[error(
        "execution {0:?} has expressions that take long, as many others at this moment; it goes on later"
    )]
    Crowded(String),
    /// Another service's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A journal or a definition that cannot be read: a bug, or damage.
    #[error("{0}")]
    Damaged(String),
}

fn version_text(version: &str) -> String {
    if version.is_empty() { String::new() } else { format!(" version {version:?}") }
}

fn differs_text(differ: usize, check: &WorkflowCheck) -> String {
    let WorkflowCheck { name, version, checked, unchecked, .. } = check;
    let first =
        check.executions.first().and_then(|found| Some((found, found.differences.first()?)));
    let first = first.map_or_else(String::new, |(found, difference)| {
        let (id, pointer, message) =
            (&found.execution_id, &difference.pointer, &difference.message);
        format!(", the first of them {id} at {pointer} ({message:.200})")
    });
    format!(
        "version {version:?} of the workflow {name:?} is not registered: of {checked} executions that run, {differ} would have gone another way on it{first}, and {unchecked} more were not checked. They stay on their version in any case: without `check=strict` it is registered"
    )
}

impl Error {
    /// What others are told of it; of what is internal, that it is.
    pub(crate) fn public_text(&self) -> String {
        if self.code() == Code::Internal { "internal error".to_owned() } else { self.to_string() }
    }
}

impl HasCode for Error {
    fn code(&self) -> Code {
        match self {
            Self::Problems(_)
            | Self::UnknownAgent { .. }
            | Self::UnknownSecret { .. }
            | Self::UnknownChild { .. } => Code::Invalid,
            Self::VersionTaken { .. }
            | Self::NameTaken { .. }
            | Self::Differs { .. }
            | Self::WrongState(_) => Code::Conflict,
            Self::UnknownAction(_)
            | Self::Position { .. }
            | Self::Fork(_)
            | Self::Changes(_)
            | Self::File(_) => Code::Invalid,
            Self::ExecutionTaken(_) => Code::Conflict,
            Self::UnknownWorkflow { .. } | Self::UnknownDigest(_) | Self::UnknownExecution(_) => {
                Code::NotFound
            }
            Self::Busy(_) | Self::NotBegun(_) | Self::Unplanned { .. } => Code::Unavailable,
            Self::Crowded(_) => Code::Exhausted,
            Self::Fault(fault) => fault.code,
            Self::Damaged(_) => Code::Internal,
        }
    }

    fn retry_after_ms(&self) -> Option<u64> {
        match self {
            Self::Fault(fault) => fault.retry_after_ms,
            Self::Crowded(_) => Some(CROWDED_RETRY_MS),
            _ => None,
        }
    }

    fn details(&self) -> Value {
        match self {
            Self::Problems(problems) => json!({ "problems": problems }),
            Self::UnknownAgent { agent, pointer } => json!({ "agent": agent, "pointer": pointer }),
            Self::UnknownSecret { secret, pointer } => {
                json!({ "secret": secret, "pointer": pointer })
            }
            Self::UnknownChild { workflow, pointer } => {
                json!({ "workflow": workflow, "pointer": pointer })
            }
            Self::Differs { check, .. } => json!({ "check": check }),
            Self::Fault(fault) => fault.details.clone(),
            _ => Value::Null,
        }
    }
}
