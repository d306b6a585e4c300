//! Running a guarded filter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jaq_core::{Ctx, Vars};
use jaq_json::Val;
use muster_document::marks;
use serde_json::Value;

use super::meter::{Guarded, Meter, Stop};
use super::{Compiled, Surroundings, compile, value};
use crate::{Error, ErrorType, limits, stack};

/// How far an evaluation on the caller's own stack may grow it, in bytes.
const CALLER_STACK: usize = 384 * 1024;

pub(super) fn evaluate(
    compiled: &Compiled,
    input: &Value,
    around: &dyn Surroundings,
) -> Result<Value, Error> {
    let value = |name: &String| match name.as_str() {
        compile::SECRETS => compiled.secrets.clone(),
        name => around.variable(name),
    };
    let variables: Vec<Value> = compiled.variables.iter().map(value).collect();
    let bytes = std::iter::once(input).chain(&variables).map(crate::size::size).sum::<u64>();
    // Going in and out costs as well.
    let all = around.steps().get().saturating_sub(10 + bytes / 256);
    let (result, left) = quickly_or_aside(compiled, input, &variables, all, around);
    around.steps().set(left);
    let result = result.and_then(|value| marked(value, input, &variables));
    result.map_err(|failure| match failure {
        Failure::Stopped(Stop::Steps) if all < limits::EXPRESSION_STEPS => exhausted(),
        failure => failure.error(compiled),
    })
}

/// The result, and how many of `all` steps are left. It is tried right here with the steps that are
/// nothing to wait for; an evaluation changes nothing, so that it can begin anew elsewhere.
fn quickly_or_aside(
    compiled: &Compiled,
    input: &Value,
    variables: &[Value],
    all: u64,
    around: &dyn Surroundings,
) -> (Result<Value, Failure>, u64) {
    let Some(quick) = around.quick().filter(|quick| quick.get() != u64::MAX) else {
        return run_where_there_is_room(compiled, input, variables, all);
    };
    let before = around.steps().get();
    // What goes in and out takes its time, too.
    let here = quick.get().saturating_sub(before - all).min(limits::EXPRESSION_STEPS);
    if compiled.shallow && here > 0 {
        let means = Means { stack: CALLER_STACK, steps: here.min(all) };
        let (result, rest) = run(compiled, input, variables, means);
        let is_unfinished = match result {
            Err(Failure::Stopped(Stop::Stack)) => true,
            Err(Failure::Stopped(Stop::Steps)) => here < all.min(limits::EXPRESSION_STEPS),
            _ => false,
        };
        if !is_unfinished {
            let taken = means.steps - rest;
            quick.set(quick.get().saturating_sub(before - all + taken));
            return (result, all - taken);
        }
    }
    quick.set(0);
    let mut done = None;
    around.aside(&mut || done = Some(run_where_there_is_room(compiled, input, variables, all)));
    done.unwrap_or_else(|| (Err(Failure::Failed("it was not run".to_owned())), 0))
}

/// The result, and how many of `all` steps are left.
fn run_where_there_is_room(
    compiled: &Compiled,
    input: &Value,
    variables: &[Value],
    all: u64,
) -> (Result<Value, Failure>, u64) {
    let steps = all.min(limits::EXPRESSION_STEPS);
    let mut rest = steps;
    let mut result = Err(Failure::Stopped(Stop::Stack));
    if compiled.shallow {
        (result, rest) = run(compiled, input, variables, Means { stack: CALLER_STACK, steps });
    }
    if matches!(result, Err(Failure::Stopped(Stop::Stack))) {
        let means = Means { stack: stack::USABLE, steps: rest };
        (result, rest) = stack::with_deep_stack(|| run(compiled, input, variables, means))
            .unwrap_or_else(|message| (Err(Failure::Failed(message)), 0));
    }
    (result, all - (steps - rest))
}

/// Lets only those marks of secrets out that came in: data from outside must not become one by
/// being decoded or put together.
fn marked(mut value: Value, input: &Value, variables: &[Value]) -> Result<Value, Failure> {
    if !marks::is_marked(&value) {
        return Ok(value);
    }
    let mut known = marks::marks(input);
    known.extend(variables.iter().flat_map(marks::marks));
    if marks::marks(&value).is_subset(&known) {
        return Ok(value);
    }
    if known.is_empty() {
        marks::unmark(&mut value);
        return Ok(value);
    }
    let message = "it changed a secret; a secret can be put into a text, but not computed with";
    Err(Failure::Failed(message.to_owned()))
}

fn exhausted() -> Error {
    let detail = format!(
        "the expressions of one step of the workflow took more than {} steps",
        limits::TRANSITION_STEPS
    );
    Error::new(ErrorType::Expression, detail)
}

/// What one evaluation may use.
#[derive(Clone, Copy)]
struct Means {
    /// Bytes of stack.
    stack: usize,
    steps: u64,
}

enum Failure {
    Stopped(Stop),
    Failed(String),
}

impl Failure {
    fn error(self, compiled: &Compiled) -> Error {
        let message = match self {
            Failure::Stopped(stop) => stop.message(),
            Failure::Failed(message) => message,
        };
        let source = shorten(&compiled.source, 200);
        let detail = format!("expression `{source}`: {}", shorten(&message, 500));
        Error::new(ErrorType::Expression, detail)
    }
}

fn run(
    compiled: &Compiled,
    input: &Value,
    variables: &[Value],
    means: Means,
) -> (Result<Value, Failure>, u64) {
    let meter = Meter::new(&compiled.filter.lut, means.stack, means.steps);
    // jaq may have a bug that panics; that must fault the task and nothing else.
    let result = catch_unwind(AssertUnwindSafe(|| run_filter(compiled, input, variables, &meter)));
    let failed = |_| Err(Failure::Failed("the expression engine failed".to_owned()));
    (result.unwrap_or_else(failed), meter.left())
}

fn run_filter(
    compiled: &Compiled,
    input: &Value,
    variables: &[Value],
    meter: &Meter<'_>,
) -> Result<Value, Failure> {
    let variables = Vars::new(variables.iter().map(value::to_val));
    let context = Ctx::<Guarded>::new(meter, variables);
    let mut results = compiled.filter.id.run((context, value::to_val(input)));
    let mut next = || match results.next() {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(exception)) => Err(match (meter.stopped(), exception.get_err()) {
            (Some(stop), _) => Failure::Stopped(stop),
            (None, Ok(error)) => Failure::Failed(error.to_string()),
            (None, Err(_)) => Failure::Failed("it breaks out of nothing".to_owned()),
        }),
    };
    let result = next()?.unwrap_or(Val::Null);
    if next()?.is_some() {
        let message = "it has more than one result; write [ ] around it to have a list".to_owned();
        return Err(Failure::Failed(message));
    }
    if let Err(exception) = meter.measure(&result) {
        let stop = meter.stopped().unwrap_or(Stop::Size);
        drop(exception);
        return Err(Failure::Stopped(stop));
    }
    value::from_val(&result).map_err(Failure::Failed)
}

fn shorten(text: &str, length: usize) -> String {
    match text.char_indices().nth(length) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}
