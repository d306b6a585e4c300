//! Drives an execution through a document as orchestration would: facts into a journal, inputs
//! for the effects.

use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use muster_workflow::{
    Definition, Effect, Error, Execution, Fact, Function, Input, Status, effects, step,
};
use serde_json::Value;

/// A document whose tasks are `tasks`, the YAML of its `do` list.
pub(crate) fn document(tasks: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}}\ndo:\n{}",
        indent(tasks)
    )
}

fn indent(tasks: &str) -> String {
    let margin = tasks
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| line.len() - line.trim_start().len())
        .min()
        .unwrap_or(0);
    tasks.lines().map(|line| format!("  {}\n", line.get(margin..).unwrap_or(""))).collect()
}

pub(crate) fn definition(text: &str) -> Arc<Definition> {
    match Definition::parse(text) {
        Ok(definition) => Arc::new(definition),
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

pub(crate) fn noon() -> DateTime<Utc> {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

/// A journal with its execution, and the effects that wait to be done.
#[derive(Clone)]
pub(crate) struct Driver {
    pub(crate) execution: Execution,
    pub(crate) journal: Vec<Fact>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) calls: Vec<(String, Function, Value)>,
    pub(crate) timers: Vec<(String, DateTime<Utc>)>,
    pub(crate) told: Vec<Effect>,
    /// What was taken when, and how long the journal was before.
    pub(crate) history: Vec<(Input, DateTime<Utc>, usize)>,
}

impl Driver {
    /// Starts the document with the `do` list `tasks`.
    pub(crate) fn start(tasks: &str, input: Value) -> Driver {
        Driver::start_document(&document(tasks), input)
    }

    pub(crate) fn start_document(text: &str, input: Value) -> Driver {
        let mut driver = Driver::new(definition(text));
        driver.input(&Input::Start { input });
        driver
    }

    pub(crate) fn new(definition: Arc<Definition>) -> Driver {
        Driver {
            execution: Execution::new("execution-1", definition),
            journal: Vec::new(),
            now: noon(),
            calls: Vec::new(),
            timers: Vec::new(),
            told: Vec::new(),
            history: Vec::new(),
        }
    }

    /// Takes one input; true if it changed anything.
    pub(crate) fn input(&mut self, input: &Input) -> bool {
        let facts = step(&self.execution, input, self.now);
        for fact in &facts {
            self.execution.apply(fact);
        }
        for effect in effects(&facts) {
            match effect {
                Effect::Call { task, function, arguments } => {
                    self.calls.push((task, function, arguments));
                }
                Effect::SetTimer { timer, at } => self.timers.push((timer, at)),
                Effect::CancelTimer { timer } => self.timers.retain(|(name, _)| *name != timer),
                Effect::CancelCall { task } => self.calls.retain(|(key, ..)| *key != task),
                told => self.told.push(told),
            }
        }
        let changed = !facts.is_empty();
        self.history.push((input.clone(), self.now, self.journal.len()));
        self.journal.extend(facts);
        changed
    }

    /// Answers the call of the task with this key.
    #[track_caller]
    pub(crate) fn complete(&mut self, task: &str, output: Value) {
        self.take_call(task);
        assert!(self.input(&Input::Completed { task: task.to_owned(), output }));
    }

    #[track_caller]
    pub(crate) fn fail(&mut self, task: &str, error: Error) {
        self.take_call(task);
        assert!(self.input(&Input::Failed { task: task.to_owned(), error }));
    }

    #[track_caller]
    fn take_call(&mut self, task: &str) {
        let place = self.calls.iter().position(|(key, ..)| key == task);
        let Some(place) = place else { panic!("no call {task} in {:?}", self.calls) };
        self.calls.remove(place);
    }

    /// Lets the next timer fire, at its time.
    #[track_caller]
    pub(crate) fn fire(&mut self) -> String {
        self.timers.sort_by_key(|(_, at)| *at);
        let (timer, at) = self.timers.remove(0);
        self.now = at;
        assert!(self.input(&Input::TimerFired { timer: timer.clone() }), "{timer}");
        timer
    }

    /// Seconds from now until the only timer fires.
    #[track_caller]
    pub(crate) fn pause(&self) -> f64 {
        assert_eq!(self.timers.len(), 1, "{:?}", self.timers);
        let pause: Duration = self.timers[0].1 - self.now;
        pause.as_seconds_f64()
    }

    pub(crate) fn status(&self) -> Status {
        self.execution.status()
    }

    /// Keys of the calls that are under way.
    pub(crate) fn called(&self) -> Vec<&str> {
        self.calls.iter().map(|(task, ..)| task.as_str()).collect()
    }

    #[track_caller]
    pub(crate) fn output(&self) -> &Value {
        match self.execution.output() {
            Some(output) => output,
            None => panic!("{:?}: {:?}", self.status(), self.execution.error()),
        }
    }

    #[track_caller]
    pub(crate) fn error(&self) -> &Error {
        assert_eq!(self.status(), Status::Faulted, "{:?}", self.execution.output());
        self.execution.error().unwrap()
    }
}

/// Runs a document that needs nothing from outside.
#[track_caller]
pub(crate) fn check(tasks: &str, input: Value, expected: Value) {
    assert_eq!(*Driver::start(tasks, input).output(), expected);
}
