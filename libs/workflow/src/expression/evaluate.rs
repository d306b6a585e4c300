//! Running a guarded filter.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jaq_core::{Ctx, Vars};
use jaq_json::Val;
use serde_json::Value;

use super::meter::{Guarded, Meter, Stop};
use super::{Compiled, value};
use crate::stack;
use crate::{Error, ErrorType};

/// How far an evaluation on the caller's own stack may grow it, in bytes.
const CALLER_STACK: usize = 384 * 1024;

pub(super) fn evaluate(
    compiled: &Compiled,
    input: &Value,
    lookup: &dyn Fn(&str) -> Value,
) -> Result<Value, Error> {
    let variables: Vec<Value> = compiled.variables.iter().map(|name| lookup(name)).collect();
    if compiled.shallow {
        match run(compiled, input, &variables, CALLER_STACK) {
            Err(Failure::Stopped(Stop::Stack)) => {}
            result => return result.map_err(|failure| failure.error(compiled)),
        }
    }
    stack::with_deep_stack(|| run(compiled, input, &variables, stack::USABLE))
        .unwrap_or_else(|message| Err(Failure::Failed(message)))
        .map_err(|failure| failure.error(compiled))
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
    stack: usize,
) -> Result<Value, Failure> {
    // jaq may have a bug that panics; that must fault the task and nothing else.
    catch_unwind(AssertUnwindSafe(|| run_filter(compiled, input, variables, stack)))
        .unwrap_or_else(|_| Err(Failure::Failed("the expression engine failed".to_owned())))
}

fn run_filter(
    compiled: &Compiled,
    input: &Value,
    variables: &[Value],
    stack: usize,
) -> Result<Value, Failure> {
    let meter = Meter::new(&compiled.filter.lut, stack);
    let variables = Vars::new(variables.iter().map(value::to_val));
    let context = Ctx::<Guarded>::new(&meter, variables);
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
