//! Workflows that tasks run, as commands and events of the contract.

use muster_bus::MessageId;
use muster_contracts::workflow::v1::{CallCompleted, ParentTask, StartExecution};
use muster_contracts::{Json, JsonObject};
use muster_workflow::{Effect, Error, ErrorType, Execution, Parent, Payer, Status};
use serde_json::Value;

use super::state::error_object;
use crate::definitions::Entry;

/// A workflow that a task wants to run.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) task: &'a str,
    /// Empty where any will do.
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
    /// A version, or `latest`.
    pub(crate) version: &'a str,
    pub(crate) input: &'a Value,
    /// Whether the task waits for the end.
    pub(crate) wait: bool,
}

impl Wanted<'_> {
    /// The version to look for; empty for the latest.
    pub(crate) fn exact_version(&self) -> &str {
        if self.version == "latest" { "" } else { self.version }
    }

    /// The command that starts it.
    pub(crate) fn start(&self, parent: &Execution, entry: Entry) -> StartExecution {
        let depth = parent.parent().map_or(0, |parent| parent.depth);
        let payer = parent.payer().cloned();
        let Payer { tenant, key_id } = payer.unwrap_or_default();
        StartExecution {
            execution_id: child_id(parent.id(), self.task),
            workflow: entry.name,
            version: entry.version,
            digest: entry.digest,
            input: Some(Json(self.input.clone())),
            parent: Some(ParentTask {
                execution_id: parent.id().to_owned(),
                task: self.task.to_owned(),
                depth: depth.saturating_add(1),
                detached: !self.wait,
            }),
            tenant,
            key_id,
            ..Default::default()
        }
    }

    /// What ends the task where there is no such workflow.
    pub(crate) fn unknown(&self, parent: &Execution) -> CallCompleted {
        let (name, version) = (self.name, self.version);
        let namespace = match self.namespace {
            "" => String::new(),
            namespace => format!("{namespace}/"),
        };
        let detail = format!(
            "the workflow {namespace}{name}:{version} is not registered: register it before it \
             is run"
        );
        let error = Error::new(ErrorType::Configuration, detail);
        answer(parent.id(), self.task, Err(error))
    }
}

/// The id of the execution that a task runs: the same in every try.
pub(crate) fn child_id(execution_id: &str, task: &str) -> String {
    let hash = MessageId::derived(["child", execution_id, task]);
    let mut id = String::with_capacity(36);
    for (index, digit) in hash.as_str().chars().enumerate() {
        if matches!(index, 8 | 12 | 16 | 20) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

/// What the end of an execution means to the task that waits for it; `None` where none does.
pub(crate) fn told(execution: &Execution, end: &Effect) -> Option<CallCompleted> {
    let parent = execution.parent().filter(|parent| !parent.detached)?;
    let result = match end {
        Effect::Completed { output } => Ok(output.clone()),
        Effect::Faulted { error } => {
            // A pointer into the child's document says nothing in the parent's: it gets its own.
            Err(Error { instance: String::new(), ..error.clone() })
        }
        Effect::Cancelled { reason } => {
            let (name, id) = (execution.definition().name(), execution.id());
            let detail = format!("the workflow {name} (execution {id}) was cancelled: {reason}");
            Err(Error::new(ErrorType::Runtime, detail))
        }
        _ => return None,
    };
    Some(answer(&parent.execution, &parent.task, result))
}

/// Whether the child of a task that goes on goes on with it: it can, or it has done so without its parent.
pub(crate) fn goes_on(child: &Execution) -> bool {
    !child.status().is_ended() || child.status() == Status::Completed || child.is_revivable()
}

/// The end of a child, for a parent that was not waiting when it came; `None` where it has not ended or can go on.
pub(crate) fn told_again(child: &Execution) -> Option<CallCompleted> {
    if !child.status().is_ended() || child.is_revivable() {
        return None;
    }
    let end = match (child.output(), child.error()) {
        (Some(output), _) => Effect::Completed { output: output.clone() },
        (None, Some(error)) => Effect::Faulted { error: error.clone() },
        (None, None) => Effect::Cancelled { reason: child.reason().to_owned() },
    };
    told(child, &end)
}

/// What ends a task whose child is not there any more.
pub(crate) fn gone(execution_id: &str, task: &str, child: &str) -> CallCompleted {
    let detail = format!("the execution {child}, which the task ran, is not there any more");
    answer(execution_id, task, Err(Error::new(ErrorType::Runtime, detail)))
}

fn answer(execution_id: &str, task: &str, result: Result<Value, Error>) -> CallCompleted {
    let (output, error): (_, Option<JsonObject>) = match result {
        Ok(output) => (Some(Json(output)), None),
        Err(error) => (None, Some(error_object(&error))),
    };
    CallCompleted { execution_id: execution_id.to_owned(), task: task.to_owned(), output, error }
}

/// The link to the parent as the engine knows it.
pub(crate) fn parent(link: &ParentTask) -> Parent {
    Parent {
        execution: link.execution_id.clone(),
        task: link.task.clone(),
        depth: link.depth,
        detached: link.detached,
    }
}

/// The link to the parent as the contract shows it.
pub(crate) fn link(parent: &Parent) -> ParentTask {
    ParentTask {
        execution_id: parent.execution.clone(),
        task: parent.task.clone(),
        depth: parent.depth,
        detached: parent.detached,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_childs_id_follows_from_its_task() {
        let id = child_id("e1", "/do/0/a");
        assert_eq!(id, child_id("e1", "/do/0/a"));
        assert_ne!(id, child_id("e1", "/do/0/a@2"));
        assert_ne!(id, child_id("e2", "/do/0/a"));
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
    }
}
