//! The lifecycle events of the Serverless Workflow specification, made from the facts of a journal.

use chrono::{DateTime, SecondsFormat, Utc};
use muster_workflow::{Definition, Error, Fact};
use serde_json::{Map, Value, json};

const BASE: &str = "io.serverlessworkflow";

/// Which of them are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    /// None.
    Off,
    /// Those of executions.
    Workflow,
    /// Those of tasks and every change of a status, too.
    All,
}

impl std::str::FromStr for Lifecycle {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "off" => Ok(Self::Off),
            "workflow" => Ok(Self::Workflow),
            "all" => Ok(Self::All),
            _ => Err("it must be off, workflow or all"),
        }
    }
}

/// One event: what of it is not the same for all of an execution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) kind: String,
    /// Key of the task's run; nothing where it is about the execution.
    pub(crate) task: Option<String>,
    pub(crate) at: DateTime<Utc>,
    pub(crate) data: Map<String, Value>,
}

/// What an execution's events are made from.
pub(crate) struct Story<'a> {
    definition: &'a Definition,
    name: String,
    which: Lifecycle,
    /// When the transition happened: not every fact says it.
    at: DateTime<Utc>,
    told: Vec<Told>,
}

/// The events of an execution whose start is accepted.
pub(crate) fn accepted(
    definition: &Definition,
    execution_id: &str,
    which: Lifecycle,
    at: DateTime<Utc>,
) -> Vec<Told> {
    let mut story = Story::new(definition, execution_id, which, at);
    story.status("pending", at);
    story.told
}

/// The events of one transition, in the order of its facts.
pub(crate) fn events(
    definition: &Definition,
    execution_id: &str,
    which: Lifecycle,
    (facts, at): (&[Fact], DateTime<Utc>),
) -> Vec<Told> {
    let mut story = Story::new(definition, execution_id, which, at);
    // What a fork copied was told of the execution that it is copied from.
    let own = facts.iter().rposition(|fact| matches!(fact, Fact::ExecutionForked { .. }));
    let own = facts.get(own.unwrap_or_default()..).unwrap_or_default();
    for fact in own {
        if !story.execution(fact, own) {
            story.task(fact);
        }
    }
    story.told
}

impl<'a> Story<'a> {
    fn new(
        definition: &'a Definition,
        execution_id: &str,
        which: Lifecycle,
        at: DateTime<Utc>,
    ) -> Self {
        let name = format!("{}-{execution_id}.{}", definition.name(), definition.namespace());
        Self { definition, name, which, at, told: Vec::new() }
    }

    /// Tells a fact about the execution; false where it is about a task.
    fn execution(&mut self, fact: &Fact, all: &[Fact]) -> bool {
        match fact {
            Fact::ExecutionStarted { at, .. } | Fact::ExecutionForked { at, .. } => {
                let reference = json!({
                    "name": self.definition.name(),
                    "namespace": self.definition.namespace(),
                    "version": self.definition.version(),
                });
                self.workflow("started", ("startedAt", *at), [("definition", reference)]);
                self.status("running", *at);
            }
            Fact::ExecutionSuspended { tasks, at, .. } => {
                self.workflow("suspended", ("suspendedAt", *at), []);
                self.each(tasks, "suspended", "suspendedAt", *at);
                self.status("suspended", *at);
            }
            Fact::ExecutionResumed { tasks, at } => {
                self.workflow("resumed", ("resumedAt", *at), []);
                self.each(tasks, "resumed", "resumedAt", *at);
                self.status("running", *at);
            }
            Fact::ExecutionRetried { at, .. } => {
                self.workflow("resumed", ("resumedAt", *at), []);
                self.status("running", *at);
            }
            Fact::ExecutionWaiting { at, .. } => self.status("waiting", *at),
            Fact::ListeningStarted { .. } => {
                self.workflow("correlation-started", ("startedAt", self.at), []);
            }
            Fact::ListeningEnded { task, .. } => self.correlated(task, all),
            Fact::ExecutionCompleted { output, at } => {
                self.workflow("completed", ("completedAt", *at), map("output", output));
                self.status("completed", *at);
            }
            Fact::ExecutionFaulted { error, at } => {
                self.workflow("faulted", ("faultedAt", *at), [("error", object(error))]);
                self.status("faulted", *at);
            }
            Fact::ExecutionCancelled { at, .. } => {
                self.workflow("cancelled", ("cancelledAt", *at), []);
                self.status("cancelled", *at);
            }
            _ => return false,
        }
        true
    }

    fn task(&mut self, fact: &Fact) {
        match fact {
            Fact::TaskStarted { task, at, .. } => {
                self.of_task(task, "created", ("createdAt", *at), []);
                self.of_task(task, "started", ("startedAt", *at), []);
                self.task_status(task, "running", *at);
            }
            Fact::TaskRetried { task, .. } => {
                self.of_task(task, "retried", ("retriedAt", self.at), []);
            }
            Fact::TaskCompleted { task, output, at, .. } => {
                let output = output.iter().flat_map(|output| map("output", output));
                self.of_task(task, "completed", ("completedAt", *at), output);
                self.task_status(task, "completed", *at);
            }
            Fact::TaskFaulted { task, error, at } => {
                self.of_task(task, "faulted", ("faultedAt", *at), [("error", object(error))]);
                self.task_status(task, "faulted", *at);
            }
            Fact::TaskCancelled { task, at } => {
                self.of_task(task, "cancelled", ("cancelledAt", *at), []);
                self.task_status(task, "cancelled", *at);
            }
            _ => {}
        }
    }

    /// A task wants no more events: because it has what it listened for, unless it ended otherwise.
    fn correlated(&mut self, task: &str, all: &[Fact]) {
        let is_stopped = all.iter().any(|fact| match fact {
            Fact::TaskFaulted { task: other, .. } | Fact::TaskCancelled { task: other, .. } => {
                other == task
            }
            _ => false,
        });
        if is_stopped {
            return;
        }
        let keys = all.iter().filter_map(|fact| match fact {
            Fact::EventConsumed { task: other, consumed } if other == task => {
                Some(consumed.correlations.clone())
            }
            _ => None,
        });
        let keys: Map<String, Value> = keys.flatten().collect();
        let keys = (!keys.is_empty()).then_some(("correlationKeys", Value::Object(keys)));
        self.workflow("correlation-completed", ("completedAt", self.at), keys);
    }

    fn workflow(
        &mut self,
        what: &str,
        (when, at): (&str, DateTime<Utc>),
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        let kind = format!("{BASE}.workflow.{what}.v1");
        let fields = [("name".to_owned(), json!(self.name)), (when.to_owned(), moment(at))];
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value));
        let data = fields.into_iter().chain(more).collect();
        self.told.push(Told { kind, task: None, at, data });
    }

    fn status(&mut self, status: &'static str, at: DateTime<Utc>) {
        if self.which == Lifecycle::All {
            self.workflow("status-changed", ("updatedAt", at), [("status", json!(status))]);
        }
    }

    fn of_task(
        &mut self,
        task: &str,
        what: &str,
        (when, at): (&str, DateTime<Utc>),
        more: impl IntoIterator<Item = (&'static str, Value)>,
    ) {
        if self.which != Lifecycle::All {
            return;
        }
        let fields = [
            ("workflow".to_owned(), json!(self.name)),
            ("task".to_owned(), json!(self.definition.pointer_of(task).unwrap_or(task))),
            (when.to_owned(), moment(at)),
        ];
        let more = more.into_iter().map(|(name, value)| (name.to_owned(), value));
        let data = fields.into_iter().chain(more).collect();
        let kind = format!("{BASE}.task.{what}.v1");
        self.told.push(Told { kind, task: Some(task.to_owned()), at, data });
    }

    fn each(&mut self, tasks: &[String], what: &str, when: &str, at: DateTime<Utc>) {
        for task in tasks {
            self.of_task(task, what, (when, at), []);
        }
    }

    fn task_status(&mut self, task: &str, status: &'static str, at: DateTime<Utc>) {
        self.of_task(task, "status-changed", ("updatedAt", at), [("status", json!(status))]);
    }
}

/// The specification has outputs that are maps only.
fn map(name: &'static str, value: &Value) -> Option<(&'static str, Value)> {
    value.is_object().then(|| (name, value.clone()))
}

fn object(error: &Error) -> Value {
    serde_json::to_value(error).unwrap_or_default()
}

fn moment(at: DateTime<Utc>) -> Value {
    json!(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
