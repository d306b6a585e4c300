//! Telling the world of an event.

use chrono::SecondsFormat;
use serde_json::{Map, Value};

use super::Machine;
use super::arguments::Scope;
use crate::event::check_attributes;
use crate::expression::Template;
use crate::{Error, ErrorType, Fact};

impl Machine<'_> {
    /// Makes the event of an `emit` task. What the document leaves out follows from the task: its
    /// id from the execution and the task's key, its time from the step.
    pub(super) fn publish(&mut self, run: usize, with: &Template) -> Result<Value, Error> {
        let input = self.data(run);
        let event = with.evaluate(&input, &Scope::of(self, run))?;
        let Value::Object(mut event) = event else {
            let detail = format!("emit: an event must be a map, not {event:.100}");
            return Err(Error::new(ErrorType::Expression, detail));
        };
        // An expression that has no value leaves the attribute out.
        event.retain(|name, value| name == "data" || !value.is_null());
        let mut missing = |name: &str, value: String| {
            event.entry(name.to_owned()).or_insert(Value::String(value));
        };
        missing("specversion", "1.0".to_owned());
        missing("id", format!("{}{}", self.state.id, self.key(run)));
        missing("time", self.now.to_rfc3339_opts(SecondsFormat::Millis, true));
        check_attributes(&event)?;
        for required in ["source", "type"] {
            if !event.contains_key(required) {
                let detail = format!("emit: `{required}` is null, but an event must have one");
                return Err(Error::new(ErrorType::Expression, detail));
            }
        }
        let event = Value::Object(ordered(event));
        super::bounds::check_outgoing(&event, "the event")?;
        super::call::no_secrets(&event, "the attributes of the event")?;
        self.emit(Fact::EventEmitted { task: self.key(run), event: event.clone() });
        Ok(event)
    }
}

/// The attributes in the order in which people read them.
fn ordered(mut event: Map<String, Value>) -> Map<String, Value> {
    let first = ["specversion", "id", "source", "type", "subject", "time"];
    let known = first.into_iter().filter_map(|name| Some((name.to_owned(), event.remove(name)?)));
    let mut ordered: Map<String, Value> = known.collect();
    ordered.extend(event);
    ordered
}
