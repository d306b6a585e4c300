//! Events: which of them a task or a schedule wants, and what has come of that so far.
//!
//! An event is a `CloudEvent` in its structured JSON form: `{specversion, id, source, type, …, data}`.

mod attributes;
mod matching;
mod read;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use self::attributes::{check_attributes, is_attribute_name};
pub(crate) use self::matching::{Taken, expected};
pub(crate) use self::read::Read;
use crate::expression::{Expression, Template};
use crate::model::{Length, NodeId, Transform};

/// A `listen` task: what it consumes, and what it does with each of these.
#[derive(Debug)]
pub(crate) struct Listen {
    pub(crate) to: Strategy,
    pub(crate) read: Read,
    pub(crate) foreach: Option<Foreach>,
    /// How long it consumes at most; what was consumed until then is its output.
    pub(crate) lasting: Option<Length>,
    /// Whether it stands in the document as a call.
    pub(crate) is_called: bool,
}

/// What is done with each consumed item, one after the other.
#[derive(Debug)]
pub(crate) struct Foreach {
    /// Name of the item's variable, with its dollar sign.
    pub(crate) item: String,
    /// Name of the index's variable, with its dollar sign.
    pub(crate) at: String,
    pub(crate) body: Vec<NodeId>,
    pub(crate) output: Transform,
    pub(crate) export: Transform,
}

/// Which events are consumed, and when that is enough.
#[derive(Debug)]
pub(crate) struct Strategy {
    /// Each filter has to have an event of its own; otherwise any event of any filter counts.
    pub(crate) all: bool,
    /// None: every event, where not all are wanted.
    pub(crate) filters: Vec<EventFilter>,
    /// When it is enough; without it the first event is. Only where not all are wanted.
    pub(crate) until: Option<Until>,
}

/// What ends listening.
#[derive(Debug)]
pub(crate) enum Until {
    /// A condition on what was consumed so far.
    Condition(Expression),
    /// A condition on what was consumed so far that does not hold any more.
    Unless(Expression),
    /// So many items.
    Amount(usize),
    /// Other events, which are not part of the output.
    Events(Box<Strategy>),
}

/// What an event must be like.
#[derive(Debug)]
pub(crate) struct EventFilter {
    pub(crate) with: Vec<(String, Wanted)>,
    pub(crate) correlate: Vec<(String, Correlation)>,
    /// A condition on the message that the event is.
    pub(crate) message: Option<Expression>,
}

/// What one attribute of an event must be.
#[derive(Debug)]
pub(crate) enum Wanted {
    /// This value; a map wants these entries, and perhaps there are more.
    Value(Value),
    /// This text, or one that the pattern fits as a whole.
    Pattern(String, regex::Regex),
    /// True, or the value itself, for the attribute as `.`.
    Expression(Expression),
}

/// A value that all events of a task have in common.
#[derive(Debug)]
pub(crate) struct Correlation {
    /// Where an event has it.
    pub(crate) from: Expression,
    /// What it must be; without it, what the first event has.
    pub(crate) expect: Option<Template>,
}

/// Events that a listener may want, as far as it can be told without its state: a listener is not
/// asked about others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interest {
    /// Their type; none: any.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Other attributes that they must have, by name: all of one of these.
    pub with: Vec<BTreeMap<String, String>>,
}

impl Interest {
    /// Whether an event, in its structured JSON form, may be wanted.
    pub fn covers(&self, event: &Value) -> bool {
        let has = |name: &str, wanted: &str| {
            event.get(name).and_then(Value::as_str).is_some_and(|is| is == wanted)
        };
        self.kind.as_deref().is_none_or(|kind| has("type", kind))
            && (self.with.is_empty()
                || self.with.iter().any(|all| all.iter().all(|(name, wanted)| has(name, wanted))))
    }
}

impl Strategy {
    /// Which events may matter to it, each type once.
    pub(crate) fn interests(&self) -> Vec<Interest> {
        let mut by_type = BTreeMap::new();
        self.collect(&mut by_type);
        if let Some(any) = by_type.get(&None)
            && any.iter().any(BTreeMap::is_empty)
        {
            return vec![Interest { kind: None, with: Vec::new() }];
        }
        let interest = |(kind, mut with): (Option<String>, Vec<BTreeMap<String, String>>)| {
            // One that wants nothing else makes the others superfluous.
            if with.iter().any(BTreeMap::is_empty) {
                with.clear();
            }
            Interest { kind, with }
        };
        by_type.into_iter().map(interest).collect()
    }

    fn collect(&self, by_type: &mut BTreeMap<Option<String>, Vec<BTreeMap<String, String>>>) {
        if self.filters.is_empty() {
            by_type.entry(None).or_default().push(BTreeMap::new());
        }
        for filter in &self.filters {
            let text = |(name, wanted): &(String, Wanted)| match wanted {
                Wanted::Value(Value::String(text)) => Some((name.clone(), text.clone())),
                _ => None,
            };
            let mut with: BTreeMap<String, String> = filter.with.iter().filter_map(text).collect();
            with.remove("data");
            let kind = with.remove("type");
            let known = by_type.entry(kind).or_default();
            if !known.contains(&with) {
                known.push(with);
            }
        }
        if let Some(Until::Events(until)) = &self.until {
            until.collect(by_type);
        }
    }
}

/// How far a strategy is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Filters that have their event, where all must have one.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) filters: BTreeSet<usize>,
    /// The same of the events that end it.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) until: BTreeSet<usize>,
    /// Values of the correlations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) correlations: BTreeMap<String, Value>,
}

impl Progress {
    /// Notes that an event was taken.
    pub(crate) fn note(&mut self, taken: &Taken) {
        if taken.until {
            self.until.insert(taken.filter);
        } else {
            self.filters.insert(taken.filter);
        }
        for (name, value) in &taken.correlations {
            self.correlations.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }

    /// Whether nothing else is wanted, as far as the events themselves decide it.
    pub(crate) fn is_done(&self, strategy: &Strategy) -> bool {
        let enough = |strategy: &Strategy, taken: &BTreeSet<usize>| match strategy.all {
            true => taken.len() >= strategy.filters.len(),
            false => !taken.is_empty(),
        };
        match &strategy.until {
            None => enough(strategy, &self.filters),
            Some(Until::Condition(_) | Until::Unless(_) | Until::Amount(_)) => false,
            Some(Until::Events(until)) => enough(until, &self.until),
        }
    }
}
