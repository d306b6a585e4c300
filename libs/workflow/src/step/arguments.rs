//! What the variables of an expression stand for.

use std::cell::Cell;
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use muster_document::marks;
use serde_json::{Value, json};

use super::Machine;
use crate::Error;
use crate::execution::{Detail, Phase, Run};
use crate::expression::Surroundings;
use crate::model::{Kind, Node};

/// The place of an expression in an execution.
pub(super) struct Scope<'m> {
    machine: &'m Machine<'m>,
    /// The run whose surroundings give the variables of loops and catches.
    run: usize,
    input: Arc<Value>,
    output: Option<Arc<Value>>,
    /// The output before `output.as`.
    raw_output: Option<Arc<Value>>,
    /// A task that has not begun.
    upcoming: Option<&'m Node>,
    /// A loop's index that is not yet in the state.
    index: Option<(usize, usize)>,
    error: Option<(String, Value)>,
}

impl<'m> Scope<'m> {
    /// Inside a run that has begun.
    pub(super) fn of(machine: &'m Machine<'m>, run: usize) -> Scope<'m> {
        let input = machine.live(run).map(|live| live.input.clone()).unwrap_or_default();
        Scope {
            machine,
            run,
            input,
            output: None,
            raw_output: None,
            upcoming: None,
            index: None,
            error: None,
        }
    }

    /// Before `task` begins inside `parent`.
    pub(super) fn before(
        machine: &'m Machine<'m>,
        parent: usize,
        task: &'m Node,
        raw: &Arc<Value>,
    ) -> Scope<'m> {
        Scope { upcoming: Some(task), input: raw.clone(), ..Scope::of(machine, parent) }
    }

    pub(super) fn with_output(self, output: &Arc<Value>) -> Scope<'m> {
        Scope { output: Some(output.clone()), ..self }
    }

    pub(super) fn with_raw_output(self, output: &Arc<Value>) -> Scope<'m> {
        Scope { raw_output: Some(output.clone()), ..self }
    }

    pub(super) fn at_index(self, run: usize, index: usize) -> Scope<'m> {
        Scope { index: Some((run, index)), ..self }
    }

    pub(super) fn with_error(self, variable: &str, error: &Error) -> Scope<'m> {
        Scope { error: Some((variable.to_owned(), error_value(error))), ..self }
    }

    /// A variable of a loop or a catch around this place, the innermost first.
    fn surrounding(&self, name: &str) -> Value {
        if let Some((variable, error)) = &self.error
            && variable == name
        {
            return error.clone();
        }
        let mut run = self.run;
        loop {
            if let Some(value) = self.machine.get(run).and_then(|found| self.own(run, found, name))
            {
                return value;
            }
            if run == 0 {
                return Value::Null;
            }
            run = self.machine.parent(run);
        }
    }

    /// A variable that a run itself gives.
    fn own(&self, index: usize, run: &Run, name: &str) -> Option<Value> {
        match (self.machine.state.definition.kind(run.node)?, run.detail()) {
            (Kind::For(for_), Detail::Loop { items, index: current }) => {
                let ahead = self.index.filter(|(of, _)| *of == index).map(|(_, index)| index);
                let at = ahead.or(*current)?;
                if for_.each == name {
                    return items.get(at).cloned();
                }
                (for_.at == name).then(|| Value::from(at))
            }
            (Kind::Listen(listen), Detail::Listen(listening)) => {
                let (foreach, current) = (listen.foreach.as_ref()?, listening.current.as_ref()?);
                if foreach.item == name {
                    return Some(current.item.as_ref().clone());
                }
                (foreach.at == name).then(|| Value::from(current.index))
            }
            (Kind::Try(try_), Detail::Try { phase: Phase::Catching(error), .. }) => {
                (try_.variable == name).then(|| error_value(error))
            }
            _ => None,
        }
    }

    /// `$authorization`: what a call's request is authorized with. Its parameter is a mark: it is
    /// known where the request is made, and replaced in that request alone.
    fn authorization(&self) -> Value {
        let node = self.machine.get(self.run).and_then(|run| run.node);
        let node = node.filter(|_| self.upcoming.is_none());
        match self.machine.state.definition.kind(node) {
            Some(Kind::Call { scheme: Some(scheme), .. }) => {
                json!({"scheme": scheme, "parameter": marks::AUTHORIZATION})
            }
            _ => Value::Null,
        }
    }

    /// `$task`: the task's name, reference, definition, raw input, raw output and start. In the
    /// tasks of an extension it is the task that is extended.
    fn task(&self) -> Value {
        let definition = &self.machine.state.definition;
        let extended = self.machine.extended_by(self.run);
        let upcoming = self.upcoming.filter(|_| extended.is_none());
        let mut output = self.raw_output.clone().filter(|_| extended.is_none());
        if let Some(Detail::Extended { raw, .. }) = extended.map(|run| self.machine.detail(run)) {
            output = Some(raw.clone());
        }
        let run = self.machine.get(extended.unwrap_or(self.run));
        let (node, raw, started_at) = match (upcoming, run) {
            (Some(node), _) => (Some(node), self.input.clone(), self.machine.now),
            (None, Some(run)) => {
                let node = run.node.and_then(|node| definition.node(node));
                let raw = run.live.as_ref().map(|live| live.raw.clone()).unwrap_or_default();
                (node, raw, run.started_at)
            }
            (None, None) => return Value::Null,
        };
        let Some(node) = node else { return Value::Null };
        json!({
            "name": node.name,
            "reference": node.pointer,
            "definition": definition.document().pointer(&node.pointer),
            "input": *raw,
            "output": output.as_deref(),
            "startedAt": time(started_at),
        })
    }
}

impl Surroundings for Scope<'_> {
    /// Parsing made sure that every variable is one of these.
    fn variable(&self, name: &str) -> Value {
        match name {
            "$context" => self.machine.state.context.as_ref().clone(),
            "$input" => self.input.as_ref().clone(),
            "$output" => self.output.as_deref().cloned().unwrap_or_default(),
            "$task" => self.task(),
            "$workflow" => self.machine.workflow(&self.machine.state.input),
            "$runtime" => runtime(),
            "$authorization" => self.authorization(),
            other => self.surrounding(other),
        }
    }

    fn steps(&self) -> &Cell<u64> {
        &self.machine.steps
    }

    fn quick(&self) -> Option<&Cell<u64>> {
        Some(&self.machine.quick)
    }

    fn aside(&self, work: &mut dyn FnMut()) {
        self.machine.slow.run(work);
    }
}

/// The place of the workflow's own `input.from`, before there is anything else.
pub(super) struct Outset<'m> {
    pub(super) machine: &'m Machine<'m>,
    pub(super) input: &'m Value,
}

impl Surroundings for Outset<'_> {
    fn variable(&self, name: &str) -> Value {
        match name {
            "$workflow" => self.machine.workflow(self.input),
            "$runtime" => runtime(),
            _ => Value::Null,
        }
    }

    fn steps(&self) -> &Cell<u64> {
        &self.machine.steps
    }

    fn quick(&self) -> Option<&Cell<u64>> {
        Some(&self.machine.quick)
    }

    fn aside(&self, work: &mut dyn FnMut()) {
        self.machine.slow.run(work);
    }
}

impl Machine<'_> {
    fn workflow(&self, input: &Value) -> Value {
        json!({
            "id": *self.state.id,
            "definition": self.state.definition.document(),
            "input": input,
            "startedAt": time(self.state.started_at().unwrap_or(self.now)),
        })
    }
}

pub(crate) fn runtime() -> Value {
    json!({"name": "muster", "version": env!("CARGO_PKG_VERSION"), "metadata": {}})
}

fn time(time: DateTime<Utc>) -> Value {
    json!({
        "iso8601": time.to_rfc3339_opts(SecondsFormat::Millis, true),
        "epoch": {"seconds": time.timestamp(), "milliseconds": time.timestamp_millis()},
    })
}

fn error_value(error: &Error) -> Value {
    serde_json::to_value(error).unwrap_or_default()
}
