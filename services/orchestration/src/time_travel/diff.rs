//! How two executions differ.

use std::collections::HashMap;

use muster_contracts::Json;
use muster_contracts::workflow::v1::{DiffSide, ExecutionDiff, TaskDifference};
use muster_workflow::{Execution, Fact};
use serde_json::{Value, json};

use super::{History, Transition};
use crate::domain::state::{error_object, word};

/// What `left` and `right` did differently: their transitions apart from times, and how each run of a task ended.
pub(super) fn diff(left: &History, right: &History) -> ExecutionDiff {
    let ((left_end, left_runs), (right_end, right_runs)) = (runs(left), runs(right));
    let mut tasks = Vec::new();
    let mut same = 0;
    for run in &left_runs.list {
        match right_runs.get(&run.task) {
            None => tasks.push(run.differs("only_left", Some(run.summary()), None)),
            Some(other) => match run.difference(other) {
                Some(difference) => tasks.push(difference),
                None => same += 1,
            },
        }
    }
    let only_right = right_runs.list.iter().filter(|run| left_runs.get(&run.task).is_none());
    tasks.extend(only_right.map(|run| run.differs("only_right", None, Some(run.summary()))));
    ExecutionDiff {
        left: Some(side(left, &left_end)),
        right: Some(side(right, &right_end)),
        parted_at: parted_at(left.transitions(), right.transitions()),
        same,
        tasks,
    }
}

/// The first transition that is not the same in both, counted from 1; 0 where there is none.
fn parted_at(left: &[Transition], right: &[Transition]) -> u64 {
    let same = left.iter().zip(right).take_while(|(one, other)| happened(one) == happened(other));
    let same = same.count();
    if same == left.len() && same == right.len() { 0 } else { same as u64 + 1 }
}

/// A transition's facts without their times.
fn happened(transition: &Transition) -> Vec<Value> {
    let fact = |fact: &Fact| {
        let mut value = serde_json::to_value(fact).unwrap_or_default();
        if let Value::Object(fields) = &mut value {
            fields.remove("at");
        }
        value
    };
    transition.facts.iter().map(fact).collect()
}

fn side(history: &History, end: &Execution) -> DiffSide {
    let definition = history.definition();
    DiffSide {
        execution_id: history.execution_id().to_owned(),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        digest: definition.digest().to_owned(),
        status: word(&end.status()),
        transitions: history.transitions().len() as u64,
        output: end.output().cloned().map(Json),
        error: end.error().map(error_object),
    }
}

/// Runs of tasks in the order in which they began.
#[derive(Default)]
struct Runs {
    list: Vec<Run>,
    by_task: HashMap<String, usize>,
}

/// How a run of a task ended, so far.
struct Run {
    task: String,
    name: String,
    kind: String,
    status: &'static str,
    output: Option<Value>,
    error: Option<Value>,
}

impl Runs {
    fn get(&self, task: &str) -> Option<&Run> {
        self.list.get(*self.by_task.get(task)?)
    }

    fn begin(&mut self, (task, name, kind): (&String, &String, &String), status: &'static str) {
        self.by_task.insert(task.clone(), self.list.len());
        let (task, name, kind) = (task.clone(), name.clone(), kind.clone());
        self.list.push(Run { task, name, kind, status, output: None, error: None });
    }

    fn end(&mut self, task: &str, change: impl FnOnce(&mut Run)) {
        if let Some(run) = self.by_task.get(task).and_then(|index| self.list.get_mut(*index)) {
            change(run);
        }
    }

    fn note(&mut self, fact: &Fact, execution: &Execution) {
        match fact {
            Fact::TaskStarted { task, name, kind, .. } => self.begin((task, name, kind), "running"),
            Fact::TaskSkipped { task, name, kind, .. } => self.begin((task, name, kind), "skipped"),
            Fact::TaskCompleted { task, output, .. } => {
                // A fact does not repeat what the task held already.
                let output = output.clone().or_else(|| execution.held(task).cloned());
                self.end(task, |run| (run.status, run.output) = ("completed", output));
            }
            Fact::TaskFaulted { task, error, .. } => {
                let error = Some(error_object(error).into_value());
                self.end(task, |run| (run.status, run.error) = ("faulted", error));
            }
            Fact::TaskCancelled { task, .. } => self.end(task, |run| run.status = "cancelled"),
            _ => {}
        }
    }
}

impl Run {
    fn difference(&self, other: &Run) -> Option<TaskDifference> {
        let sides = |difference, left: &Option<Value>, right: &Option<Value>| {
            (left != right).then(|| self.differs(difference, left.clone(), right.clone()))
        };
        if self.status != other.status {
            return Some(self.differs("status", Some(self.summary()), Some(other.summary())));
        }
        sides("error", &self.error, &other.error)
            .or_else(|| sides("output", &self.output, &other.output))
    }

    fn differs(
        &self,
        difference: &str,
        left: Option<Value>,
        right: Option<Value>,
    ) -> TaskDifference {
        TaskDifference {
            task: self.task.clone(),
            name: self.name.clone(),
            kind: self.kind.clone(),
            difference: difference.to_owned(),
            left: left.map(Json),
            right: right.map(Json),
        }
    }

    fn summary(&self) -> Value {
        let mut summary = json!({ "status": self.status });
        if let Value::Object(fields) = &mut summary {
            let ended = [("output", &self.output), ("error", &self.error)];
            let ended = ended.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
            fields.extend(ended.map(|(name, value)| (name.to_owned(), value)));
        }
        summary
    }
}

/// The state at the end and how each run of a task ended.
fn runs(history: &History) -> (Execution, Runs) {
    let mut execution = history.state_at(0);
    let mut runs = Runs::default();
    for fact in history.transitions().iter().flat_map(|transition| &transition.facts) {
        runs.note(fact, &execution);
        execution.apply(fact);
    }
    (execution, runs)
}
