//! Whether an event is one that a filter wants.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{EventFilter, Progress, Read, Strategy, Until, Wanted};
use crate::Error;
use crate::expression::Surroundings;

/// By which filter an event was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Taken {
    /// Index of the filter.
    pub(crate) filter: usize,
    /// It is one of those that end listening.
    pub(crate) until: bool,
    /// Values of correlations that it is the first to have.
    pub(crate) correlations: BTreeMap<String, Value>,
}

impl Strategy {
    /// The filter that takes an event, if one does. Those that end it come first.
    ///
    /// An expression that fails for this event does not want it: events come from outside, and one
    /// of another shape must not fault who listens.
    pub(crate) fn take(
        &self,
        progress: &Progress,
        event: &Value,
        around: &dyn Surroundings,
    ) -> Option<Taken> {
        if let Some(Until::Events(until)) = &self.until {
            let taken = until.filters.iter().enumerate().find_map(|(filter, wanted)| {
                let open = !until.all || !progress.until.contains(&filter);
                let correlations =
                    open.then(|| wanted.matches(&progress.correlations, event, around))??;
                Some(Taken { filter, until: true, correlations })
            });
            if taken.is_some() {
                return taken;
            }
        }
        if self.filters.is_empty() && !self.all {
            return Some(Taken { filter: 0, until: false, correlations: BTreeMap::new() });
        }
        self.filters.iter().enumerate().find_map(|(filter, wanted)| {
            let open = !self.all || !progress.filters.contains(&filter);
            let correlations =
                open.then(|| wanted.matches(&progress.correlations, event, around))??;
            Some(Taken { filter, until: false, correlations })
        })
    }
}

impl EventFilter {
    /// The correlations that the event adds; `None` where it is not wanted.
    fn matches(
        &self,
        known: &BTreeMap<String, Value>,
        event: &Value,
        around: &dyn Surroundings,
    ) -> Option<BTreeMap<String, Value>> {
        for (name, wanted) in &self.with {
            let is = event.get(name).unwrap_or(&Value::Null);
            let fits = match wanted {
                Wanted::Value(value) => contains(is, value),
                Wanted::Pattern(text, pattern) => {
                    is.as_str().is_some_and(|is| is == text || pattern.is_match(is))
                }
                Wanted::Expression(expression) => match expression.evaluate(is, around).ok()? {
                    Value::Bool(fits) => fits,
                    Value::Null => false,
                    value => value == *is,
                },
            };
            if !fits {
                return None;
            }
        }
        if let Some(condition) = &self.message
            && !condition.test(&Read::Message.of(event), around).ok()?
        {
            return None;
        }
        let mut added = BTreeMap::new();
        for (name, correlation) in &self.correlate {
            let value = correlation.from.evaluate(event, around).ok()?;
            match known.get(name) {
                // An event without it cannot be told to belong here.
                _ if value.is_null() => return None,
                Some(known) if !same(known, &value) => return None,
                Some(_) => {}
                None => drop(added.insert(name.clone(), value)),
            }
        }
        Some(added)
    }
}

/// Whether a value is the wanted one; a map may have more entries.
fn contains(is: &Value, wanted: &Value) -> bool {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => {
            wanted.iter().all(|(name, wanted)| is.get(name).is_some_and(|is| contains(is, wanted)))
        }
        _ => is == wanted,
    }
}

/// Whether two values of a correlation are the same. A constant is a text in the document: `"42"`
/// is the number 42 too.
fn same(known: &Value, value: &Value) -> bool {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    known == value || text(known).is_some_and(|known| text(value).as_ref() == Some(&known))
}

/// What the correlations of a strategy must be, before any event has come.
pub(crate) fn expected(
    strategy: &Strategy,
    input: &Value,
    around: &dyn Surroundings,
) -> Result<BTreeMap<String, Value>, Error> {
    let until = match &strategy.until {
        Some(Until::Events(until)) => until.filters.as_slice(),
        _ => &[],
    };
    let mut values = BTreeMap::new();
    let filters = strategy.filters.iter().chain(until);
    for (name, correlation) in filters.flat_map(|filter| &filter.correlate) {
        if let Some(expect) = &correlation.expect {
            values.insert(name.clone(), expect.evaluate(input, around)?);
        }
    }
    Ok(values)
}
