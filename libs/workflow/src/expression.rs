//! Runtime expressions: jq, by the `jaq` crates, with bounds.
//!
//! An expression comes from outside and must neither stall nor crash the process. Its source is
//! bounded, and so are its nesting, its steps, its stack and the size of every value that it makes
//! ([`guard`] says how). It cannot read the clock, the environment or anything else that changes.

mod compile;
mod evaluate;
mod guard;
mod meter;
mod natives;
mod operators;
mod template;
mod uri;
mod value;

use std::cell::Cell;
use std::fmt;
use std::sync::Arc;

use jaq_core::Filter;
use serde_json::Value;

use self::meter::Guarded;
pub(crate) use self::template::Template;
pub(crate) use self::uri::UriTemplate;
use crate::Error;

/// What an expression is evaluated in.
pub(crate) trait Surroundings {
    /// The value of a variable, named with its dollar sign.
    fn variable(&self, name: &str) -> Value;

    /// How many steps all expressions together may still take.
    fn steps(&self) -> &Cell<u64>;

    /// How many steps may be taken right here; what takes more is run by [`Surroundings::aside`].
    /// `None` or `u64::MAX`: any number.
    fn quick(&self) -> Option<&Cell<u64>> {
        None
    }

    /// Runs work that may take long.
    fn aside(&self, work: &mut dyn FnMut()) {
        work();
    }
}

/// A compiled expression.
#[derive(Clone)]
pub(crate) struct Expression(Arc<Compiled>);

struct Compiled {
    source: String,
    filter: Filter<Guarded>,
    /// The variables that it reads, in the order in which the filter expects them.
    variables: Vec<String>,
    /// The marks of the secrets that it reads.
    secrets: Value,
    /// Whether it can neither recurse nor nest deeply, so that any thread's stack is enough.
    shallow: bool,
}

impl Expression {
    /// Compiles `source`, which stands bare or in `${ }`, for a place that has `variables`.
    ///
    /// A declared secret is among them as `$secrets.name`; the value of `$secrets.name` is a mark.
    ///
    /// The error says what is wrong with the source.
    pub(crate) fn parse(source: &str, variables: &[String]) -> Result<Expression, String> {
        if let Some(message) = unclosed(source) {
            return Err(message);
        }
        let bare = strip(source).unwrap_or(source);
        compile::compile(bare, variables).map(|compiled| Expression(Arc::new(compiled)))
    }

    /// The result for `input`; no result is null, and more than one is an error.
    pub(crate) fn evaluate(
        &self,
        input: &Value,
        around: &dyn Surroundings,
    ) -> Result<Value, Error> {
        evaluate::evaluate(&self.0, input, around)
    }

    /// Whether the result is neither null nor false, as jq decides.
    pub(crate) fn test(&self, input: &Value, around: &dyn Surroundings) -> Result<bool, Error> {
        let value = self.evaluate(input, around)?;
        Ok(!matches!(value, Value::Null | Value::Bool(false)))
    }
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${{ {} }}", self.0.source)
    }
}

/// What stands inside `${ }`, where the whole text is that.
pub(crate) fn strip(text: &str) -> Option<&str> {
    text.trim().strip_prefix("${")?.strip_suffix('}').map(str::trim)
}

/// What is wrong with an expression that begins and does not end.
pub(crate) fn unclosed(text: &str) -> Option<String> {
    let inside = text.trim().strip_prefix("${")?;
    if inside.ends_with('}') {
        return None;
    }
    let inside = match inside.trim() {
        "" => ".".to_owned(),
        inside => compile::excerpt(inside),
    };
    Some(format!("the expression is not closed: write `${{ {inside} }}`"))
}

#[cfg(test)]
mod tests;
