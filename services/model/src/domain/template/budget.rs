//! What a script may make, counted in bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::value::{Rest, Value, ValueKind, ValueOrKwargs};
use minijinja::{Environment, Error, ErrorKind, State, escape_formatter, filters, functions};

use super::weighed::{CONCAT, HELD, MADE, NUMBER};

/// What the templates of one reply may make together, also of what is thrown away again.
pub(super) const MAX_MADE: usize = 64 << 20;
/// The longest text that a filter takes: lists of its parts weigh many times as much.
const MAX_TEXT: usize = 4 << 20;
/// What an item weighs besides its text.
const ITEM: usize = 32;
/// How deep lists and maps may stand in each other.
const MAX_DEPTH: usize = 64;

/// What is left to be made.
#[derive(Clone)]
pub(super) struct Budget(Arc<AtomicUsize>);

impl Budget {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(MAX_MADE)))
    }

    /// Takes what the value weighs, with all that it holds.
    pub(super) fn charge(&self, value: &Value) -> Result<(), Error> {
        let left = self.left();
        self.take(left - weigh(value, left, 0)?)
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), Error> {
        let left = self.left().checked_sub(bytes).ok_or_else(too_much)?;
        self.0.store(left, Ordering::Relaxed);
        Ok(())
    }

    /// Makes the environment's functions, filters and places charge.
    pub(super) fn bind(&self, environment: &mut Environment<'static>) {
        self.bind_operators(environment);
        let made = self.clone();
        environment.set_formatter(move |out, state, value| {
            made.charge(value)?;
            escape_formatter(out, state, value)
        });
        // It gives all that a template knows as one text.
        environment.remove_global("debug");
        self.function(environment, "namespace", Value::from_function(functions::namespace));
        self.function(environment, "dict", Value::from_function(functions::dict));
        // They repeat what they are given as often as a number says.
        for name in ["indent", "format", "batch", "slice", "pprint", "urlencode"] {
            environment.remove_filter(name);
        }
        for (name, filter) in built_in() {
            self.filter(environment, name, filter);
        }
    }

    fn bind_operators(&self, environment: &mut Environment<'static>) {
        let made = self.clone();
        environment.add_function(CONCAT, move |left: Value, right: Value| {
            for part in [&left, &right] {
                is_there(part)?;
                made.charge(part)?;
            }
            Ok(format!("{left}{right}"))
        });
        let made = self.clone();
        environment.add_function(HELD, move |value: Value| made.charge(&value).map(|()| value));
        let made = self.clone();
        environment.add_function(MADE, move |value: Value| {
            // The items of a list are not copied.
            match value.kind() {
                ValueKind::Seq | ValueKind::Iterable => {
                    let most = made.left() / ITEM + 1;
                    let items = match value.len() {
                        Some(items) => items,
                        None => value.try_iter()?.take(most).count(),
                    };
                    made.take(items.saturating_mul(ITEM))?;
                }
                _ => made.charge(&value)?,
            }
            Ok(value)
        });
        environment.add_function(NUMBER, |value: Value| {
            if matches!(value.kind(), ValueKind::Number | ValueKind::Bool) {
                return Ok(value);
            }
            is_there(&value)?;
            let kind = value.kind();
            let detail = format!("`*` multiplies numbers, and repeats no {kind}");
            Err(Error::new(ErrorKind::InvalidOperation, detail))
        });
    }

    fn function(&self, environment: &mut Environment<'static>, name: &'static str, of: Value) {
        let made = self.clone();
        environment.add_function(
            name,
            move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
                let args = args.into_values();
                for argument in args.iter() {
                    made.charge(argument)?;
                }
                of.call(state, &args)
            },
        );
    }

    /// Adds a filter that gives at most some times what it is given, or is known here.
    pub(super) fn filter(
        &self,
        environment: &mut Environment<'static>,
        name: &'static str,
        of: Value,
    ) {
        let made = self.clone();
        environment.add_filter(
            name,
            move |state: &mut State<'_, '_>, args: Rest<ValueOrKwargs>| {
                let args = args.into_values();
                for argument in args.iter() {
                    if let Some(text) = argument.as_str().filter(|text| text.len() > MAX_TEXT) {
                        let detail = format!(
                            "`{name}` is given a text of {} bytes, {MAX_TEXT} at most",
                            text.len()
                        );
                        return Err(Error::new(ErrorKind::InvalidOperation, detail));
                    }
                    made.charge(argument)?;
                }
                made.take(repeated(name, &args)?)?;
                let given = of.call(state, &args)?;
                made.charge(&given)?;
                Ok(given)
            },
        );
    }
}

/// What a filter repeats of its arguments, in bytes.
fn repeated(name: &str, args: &[Value]) -> Result<usize, Error> {
    Ok(match (name, args) {
        ("join", [list, between, ..]) => {
            let items = match list.as_str() {
                Some(text) => text.chars().count(),
                None => list.try_iter()?.count(),
            };
            items.saturating_mul(between.to_string().len())
        }
        ("replace", [of, from, to, ..]) => {
            let (of, from, to) = (of.to_string(), from.to_string(), to.to_string());
            let found = if from.is_empty() { of.len() + 1 } else { of.matches(&from).count() };
            found.saturating_mul(to.len())
        }
        ("tojson" | "json", [_, _, ..]) => {
            let detail = format!("`{name}` takes no arguments here");
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
        _ => 0,
    })
}

fn is_there(value: &Value) -> Result<(), Error> {
    if value.is_undefined() { Err(ErrorKind::UndefinedError.into()) } else { Ok(()) }
}

fn too_much() -> Error {
    let detail = format!(
        "the templates of the reply make more than {MAX_MADE} bytes, counting all that they join, repeat and filter on the way"
    );
    Error::new(ErrorKind::InvalidOperation, detail)
}

/// What is left of so many bytes after the value and all that it holds.
fn weigh(value: &Value, left: usize, depth: usize) -> Result<usize, Error> {
    if depth > MAX_DEPTH {
        let detail = format!("a value is nested deeper than {MAX_DEPTH}, or holds itself");
        return Err(Error::new(ErrorKind::InvalidOperation, detail));
    }
    let own = ITEM
        + value.as_str().map_or(0, str::len)
        + value
            .as_bytes()
            .map_or(0, |bytes| if value.as_str().is_some() { 0 } else { bytes.len() });
    let mut left = left.checked_sub(own).ok_or_else(too_much)?;
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                left = weigh(&item, left, depth + 1)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                left = weigh(&key, left, depth + 1)?;
                left = weigh(&value.get_item(&key)?, left, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(left)
}

fn built_in() -> Vec<(&'static str, Value)> {
    macro_rules! listed {
        ($($name:literal $filter:ident),* $(,)?) => {
            vec![$(($name, Value::from_function(filters::$filter))),*]
        };
    }
    listed![
        "abs" abs, "attr" attr, "bool" bool, "capitalize" capitalize, "chain" chain, "count" length, "d" default,
        "default" default, "dictsort" dictsort, "e" escape, "escape" escape, "first" first,
        "float" float, "groupby" groupby, "int" int, "items" items, "join" join, "json" tojson,
        "last" last, "length" length, "lines" lines, "list" list, "lower" lower, "map" map,
        "max" max, "min" min, "reject" reject, "rejectattr" rejectattr, "replace" replace,
        "reverse" reverse, "round" round, "safe" safe, "select" select, "selectattr" selectattr,
        "sort" sort, "split" split, "string" string, "sum" sum, "title" title, "tojson" tojson,
        "trim" trim, "unique" unique, "upper" upper, "zip" zip,
    ]
}
