//! Beginning tasks.

use std::sync::Arc;
use std::time::Duration;

use muster_document::Schema;
use serde_json::Value;

use super::arguments::Scope;
use super::bounds::check_outgoing;
use super::{Machine, Move};
use crate::execution::Detail;
use crate::expression::Surroundings;
use crate::model::{Kind, Length, Node, NodeId, Raise, Then};
use crate::{Definition, Error, ErrorType, Fact, Purpose, limits};

impl Machine<'_> {
    pub(super) fn enter(&mut self, parent: usize, node: NodeId) {
        let definition = self.state.definition.clone();
        let Some(task) = definition.node(node) else { return };
        if self.state.runs.len() > limits::TASK_RUNS {
            let detail = format!("the execution needs more than {} task runs", limits::TASK_RUNS);
            let error = Error::new(ErrorType::Runtime, detail).or_instance(&task.pointer);
            return self.fail(error);
        }
        let raw = self.data(parent);
        let admitted = self.admit(task, parent, &raw);
        let started = Started::new(self, task, parent);
        match admitted {
            Ok(Admission::Skip) => {
                self.emit(started.skipped(task));
                self.next(parent, node, &Then::Continue);
            }
            Ok(Admission::Run(input)) => {
                let changed = (*input != *raw).then(|| input.as_ref().clone());
                let run = self.begin(started, task, changed);
                if let Err(error) = self.perform(run, task, &definition) {
                    self.later(Move::Fault { run, error });
                }
            }
            Err(error) => {
                let run = self.begin(started, task, None);
                self.later(Move::Fault { run, error });
            }
        }
    }

    /// Whether a task runs, and with which input.
    fn admit(&self, task: &Node, parent: usize, raw: &Arc<Value>) -> Result<Admission, Error> {
        let scope = Scope::before(self, parent, task, raw);
        if let Some(condition) = &task.condition
            && !condition.test(raw, &scope)?
        {
            return Ok(Admission::Skip);
        }
        self.check_schema(task.input.schema.as_ref(), raw, "the task's input")?;
        Ok(Admission::Run(match &task.input.template {
            Some(template) => Arc::new(template.evaluate(raw, &scope)?),
            None => raw.clone(),
        }))
    }

    fn begin(&mut self, started: Started, task: &Node, input: Option<Value>) -> usize {
        let run = self.state.runs.len();
        self.emit(started.fact(task, input));
        run
    }

    /// Does what a task does, as far as that is possible at once.
    fn perform(&mut self, run: usize, task: &Node, definition: &Definition) -> Result<(), Error> {
        let input = self.data(run);
        let scope = Scope::of(self, run);
        if let Some(timeout) = &task.timeout {
            let length = length(timeout, &input, &scope)?;
            self.set_timer(run, Purpose::Timeout, length);
        }
        match self.extension(run, task, 0, |extension| extension.before)? {
            Some(node) => {
                self.later(Move::Enter { parent: run, node });
                Ok(())
            }
            None => self.act(run, task, definition),
        }
    }

    /// Does what a task itself does, when its extensions have.
    pub(super) fn act(
        &mut self,
        run: usize,
        task: &Node,
        definition: &Definition,
    ) -> Result<(), Error> {
        let input = self.data(run);
        let scope = Scope::of(self, run);
        match &task.kind {
            Kind::Set(template) => {
                let output = Arc::new(template.evaluate(&input, &scope)?);
                self.later(Move::Finish { run, output, then: task.then.clone() });
            }
            Kind::Switch(cases) => {
                let mut chosen = cases.iter().find(|case| case.when.is_none());
                for case in cases {
                    if let Some(when) = &case.when
                        && when.test(&input, &scope)?
                    {
                        chosen = Some(case);
                        break;
                    }
                }
                let then = chosen.map_or(&task.then, |case| &case.then).clone();
                self.later(Move::Finish { run, output: input, then });
            }
            Kind::Raise(raise) => {
                let error = raised(raise, &input, &scope)?;
                self.later(Move::Fault { run, error });
            }
            Kind::Wait(wait) => {
                let length = length(wait, &input, &scope)?;
                self.set_timer(run, Purpose::Wait, length);
            }
            Kind::Call { function, arguments, scheme: _ } => {
                let arguments = arguments.evaluate(&input, &scope)?;
                super::call::check_call(*function, &arguments)?;
                check_outgoing(&arguments, "what the call hands over")?;
                let task = self.key(run);
                self.emit(Fact::CallRequested { task, function: *function, arguments });
            }
            Kind::Function { arguments, body } => {
                let arguments = arguments.as_ref().map(|a| a.evaluate(&input, &scope));
                let there = body.is_some();
                self.call_function(run, arguments.transpose()?, there)?;
                self.descend(run, task, definition);
            }
            Kind::Child(child) => self.run_child(run, task, child)?,
            Kind::Listen(listen) => self.listen(run, listen)?,
            Kind::Emit(emit) => {
                let output = Arc::new(self.publish(run, &emit.with)?);
                self.later(Move::Finish { run, output, then: task.then.clone() });
            }
            Kind::For(for_) => {
                let items = items(for_.items.evaluate(&input, &scope)?)?;
                self.emit(Fact::LoopStarted { task: self.key(run), items });
                self.later(Move::Iterate { run });
            }
            Kind::Try(try_) => {
                self.limit_attempt(run, try_);
                self.descend(run, task, definition);
            }
            Kind::Do(_) | Kind::Fork { .. } => self.descend(run, task, definition),
        }
        Ok(())
    }

    /// Goes into the tasks inside a task.
    fn descend(&mut self, run: usize, task: &Node, definition: &Definition) {
        let tasks = self.list(run).to_vec();
        if tasks.is_empty() {
            let output = self.data(run);
            return self.later(Move::Finish { run, output, then: task.then.clone() });
        }
        let count = match definition.kind(self.get(run).and_then(|run| run.node)) {
            Some(Kind::Fork { .. }) => tasks.len(),
            _ => 1,
        };
        for node in tasks.into_iter().take(count) {
            self.later(Move::Enter { parent: run, node });
        }
    }

    /// Begins the next iteration of a `for` or the next item of a `foreach`, or ends it.
    pub(super) fn iterate(&mut self, run: usize) {
        if matches!(self.detail(run), Detail::Listen(_)) {
            return self.next_item(run);
        }
        let Detail::Loop { items, index } = self.detail(run) else { return };
        let (next, count) =
            (index.map_or(0, |index| index + 1), items.as_array().map_or(0, Vec::len));
        let definition = self.state.definition.clone();
        let Some(node) = self.get(run).and_then(|run| run.node) else { return };
        let Some(task) = definition.node(node) else { return };
        let Kind::For(for_) = &task.kind else { return };
        if next < count {
            let data = self.data(run);
            let scope = Scope::of(self, run).at_index(run, next);
            let go_on =
                for_.condition.as_ref().map_or(Ok(true), |condition| condition.test(&data, &scope));
            match go_on {
                Err(error) => return self.later(Move::Fault { run, error }),
                Ok(true) => {
                    self.emit(Fact::IterationStarted { task: self.key(run), index: next });
                    return match for_.body.first() {
                        Some(first) => self.later(Move::Enter { parent: run, node: *first }),
                        None => self.later(Move::Iterate { run }),
                    };
                }
                Ok(false) => {}
            }
        }
        let output = self.data(run);
        self.later(Move::Finish { run, output, then: task.then.clone() });
    }

    pub(super) fn set_timer(&mut self, run: usize, purpose: Purpose, length: Duration) {
        let task = self.key(run);
        let timer = match (purpose, self.detail(run)) {
            (Purpose::Wait, _) => format!("{task}#wait"),
            (Purpose::Timeout, _) => format!("{task}#timeout"),
            (Purpose::Retry, Detail::Try { attempt, .. }) => format!("{task}#retry-{attempt}"),
            (Purpose::Retry, _) => format!("{task}#retry"),
            (Purpose::Attempt, Detail::Try { attempt, .. }) => format!("{task}#attempt-{attempt}"),
            (Purpose::Attempt, _) => format!("{task}#attempt"),
            // An old one may still be on its way.
            (Purpose::Listen, _) => format!("{task}#listen+{}", self.state.retries),
        };
        let at = self.now + length;
        self.emit(Fact::TimerSet { timer, task, purpose, at });
    }

    pub(super) fn check_schema(
        &self,
        schema: Option<&Schema>,
        value: &Value,
        what: &str,
    ) -> Result<(), Error> {
        schema.map_or(Ok(()), |schema| schema.check(value)).map_err(|violations| {
            let detail = format!("{what} does not match its schema: {violations}");
            Error::new(ErrorType::Validation, detail)
        })
    }
}

enum Admission {
    Skip,
    Run(Arc<Value>),
}

/// The key of a run that is about to begin.
struct Started {
    task: String,
    parent: String,
    attempt: u32,
    at: chrono::DateTime<chrono::Utc>,
}

impl Started {
    fn new(machine: &Machine<'_>, task: &Node, parent: usize) -> Started {
        let around = machine.key(parent);
        let iteration = match machine.detail(parent) {
            Detail::Loop { index: Some(index), .. } => format!("[{index}]"),
            Detail::Listen(listening) => match &listening.current {
                Some(current) => format!("[{}]", current.index),
                None => String::new(),
            },
            _ => String::new(),
        };
        let place = format!("{around}{iteration}{}", task.step);
        let first = !machine.state.by_key.contains_key(place.as_str());
        let reached = machine.state.attempts.get(place.as_str()).copied();
        let attempt = if first { 1 } else { reached.unwrap_or(1) + 1 };
        let task = if attempt == 1 { place } else { format!("{place}@{attempt}") };
        Started { task, parent: around, attempt, at: machine.now }
    }

    fn fact(self, task: &Node, input: Option<Value>) -> Fact {
        Fact::TaskStarted {
            task: self.task,
            pointer: task.pointer.clone(),
            name: task.name.clone(),
            kind: task.kind.name().to_owned(),
            parent: self.parent,
            attempt: self.attempt,
            input,
            at: self.at,
        }
    }

    fn skipped(self, task: &Node) -> Fact {
        Fact::TaskSkipped {
            task: self.task,
            pointer: task.pointer.clone(),
            name: task.name.clone(),
            kind: task.kind.name().to_owned(),
            parent: self.parent,
            attempt: self.attempt,
            at: self.at,
        }
    }
}

/// The length of a wait or a timeout.
pub(super) fn length(
    length: &Length,
    input: &Value,
    around: &dyn Surroundings,
) -> Result<Duration, Error> {
    let expression = match length {
        Length::Fixed(length) => return Ok(*length),
        Length::Computed(expression) => expression,
    };
    let parsed = match expression.evaluate(input, around)? {
        Value::String(text) => crate::duration::from_iso(&text),
        Value::Object(map) => crate::duration::from_map(&map),
        other => Err(format!("{other} is not a duration such as PT30S or {{seconds: 30}}")),
    };
    parsed.map_err(|detail| Error::new(ErrorType::Expression, detail))
}

fn items(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) if items.len() <= limits::ITERATIONS => Ok(items),
        Value::Array(items) => {
            let limit = limits::ITERATIONS;
            let detail = format!("for.in gave {} items, {limit} at most", items.len());
            Err(Error::new(ErrorType::Runtime, detail))
        }
        other => {
            let detail = format!("for.in must give a list, not {other:.100}");
            Err(Error::new(ErrorType::Expression, detail))
        }
    }
}

fn raised(raise: &Raise, input: &Value, around: &dyn Surroundings) -> Result<Error, Error> {
    let text = |template: &crate::expression::Template| match template.evaluate(input, around)? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    };
    let optional = |template: &Option<crate::expression::Template>| {
        template.as_ref().map_or(Ok(String::new()), text)
    };
    Ok(Error {
        r#type: text(&raise.r#type)?,
        status: raise.status,
        title: optional(&raise.title)?,
        detail: optional(&raise.detail)?,
        instance: optional(&raise.instance)?,
    })
}
