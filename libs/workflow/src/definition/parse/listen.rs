//! `listen` tasks, and the event strategies that schedules have too.

use std::collections::BTreeMap;

use regex::RegexBuilder;
use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::event::{
    Correlation, EventFilter, Foreach, Listen, Read, Strategy, Until, Wanted, is_attribute_name,
};
use crate::expression::{Template, strip};
use crate::limits;
use crate::model::Kind;

/// What makes a text a pattern: letters of no type and no URI, but for `?` and `+`, which a text
/// that is equal passes all the same.
const PATTERN: [char; 11] = ['*', '+', '?', '^', '$', '|', '(', ')', '[', ']', '\\'];
/// Bytes of a compiled pattern at most.
const PATTERN_BYTES: usize = 256 * 1024;

impl Parser<'_> {
    pub(super) fn listen(&mut self, task: &Object, value: &Value, pointer: &str) -> Option<Kind> {
        let at_listen = at(pointer, "listen");
        let map = self.object(value, &at_listen, "`listen`")?;
        self.only(map, &at_listen, "`listen`", &["to", "read"]);
        let read = map.get("read").map_or(Some(Read::Data), |value| {
            let at_read = at(&at_listen, "read");
            match self.text(value, &at_read, "`read`")? {
                "data" => Some(Read::Data),
                "envelope" => Some(Read::Envelope),
                "raw" => Some(Read::Raw),
                other => {
                    let message = format!("`{other}` is neither data, envelope nor raw");
                    self.problem(at_read, message);
                    None
                }
            }
        });
        let at_to = at(&at_listen, "to");
        let Some(to) = map.get("to") else {
            self.problem(at_to, "`to` is missing: the events to listen to");
            return None;
        };
        let variables = self.variables(&[]);
        let to = self.strategy(to, &at_to, &variables);
        let foreach = task.get("foreach").map(|foreach| self.foreach(foreach, pointer));
        let foreach = match foreach {
            None => None,
            Some(foreach) => Some(foreach?),
        };
        let (lasting, is_called) = (None, false);
        Some(Kind::Listen(Box::new(Listen { to: to?, read: read?, foreach, lasting, is_called })))
    }

    /// What is done with each item that the task at `pointer` consumes.
    pub(super) fn foreach(&mut self, value: &Value, pointer: &str) -> Option<Foreach> {
        let at_foreach = at(pointer, "foreach");
        let map = self.object(value, &at_foreach, "`foreach`")?;
        self.only(map, &at_foreach, "`foreach`", &["item", "at", "do", "output", "export"]);
        let item = self.variable(map.get("item"), "item", &at(&at_foreach, "item"));
        let at_name = self.variable(map.get("at"), "index", &at(&at_foreach, "at"));
        if item == at_name {
            self.problem(at_foreach.clone(), format!("`item` and `at` are both {item}"));
        }
        self.scope.extend([item.clone(), at_name.clone()]);
        let body = match map.get("do") {
            Some(tasks) => self.list(tasks, pointer, &at(&at_foreach, "do")),
            None => Vec::new(),
        };
        let variables = self.variables(&["$output"]);
        let output = self.transform(map, &at_foreach, "output", &variables);
        let export = self.transform(map, &at_foreach, "export", &variables);
        self.scope.truncate(self.scope.len().saturating_sub(2));
        Some(Foreach { item, at: at_name, body, output, export })
    }

    /// Which events are wanted, and when that is enough.
    pub(super) fn strategy(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Strategy> {
        let strategy = self.events(value, pointer, variables, true)?;
        self.check_expectations(value, pointer);
        Some(strategy)
    }

    fn events(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
        outer: bool,
    ) -> Option<Strategy> {
        let map = self.object(value, pointer, "an event strategy")?;
        let known = ["one", "any", "all"];
        let given: Vec<&str> = known.into_iter().filter(|name| map.contains_key(*name)).collect();
        let [kind] = given.as_slice() else {
            let message = match given.len() {
                0 => "one of `one`, `any` and `all` is missing: the events to listen to".to_owned(),
                _ => format!(
                    "only one of `one`, `any` and `all` is possible, not {}",
                    given.join(" and ")
                ),
            };
            self.problem(pointer, message);
            return None;
        };
        let allowed: &[&str] = if *kind == "any" && outer { &["any", "until"] } else { &[kind] };
        self.only(map, pointer, &format!("the strategy `{kind}`"), allowed);
        let at_kind = at(pointer, kind);
        let value = map.get(*kind)?;
        let filters = match *kind {
            "one" => vec![self.event_filter(value, &at_kind, variables)?],
            _ => self.filters(value, &at_kind, variables)?,
        };
        if filters.is_empty() && *kind == "all" {
            self.problem(at_kind, "`all` is empty: there is nothing to wait for");
            return None;
        }
        let until = match map.get("until") {
            Some(value) if allowed.contains(&"until") => {
                Some(self.until(value, &at(pointer, "until"), variables)?)
            }
            _ => None,
        };
        Some(Strategy { all: *kind == "all", filters, until })
    }

    fn until(&mut self, value: &Value, pointer: &str, variables: &[String]) -> Option<Until> {
        match value {
            Value::String(_) => self.expression(value, pointer, variables).map(Until::Condition),
            Value::Object(_) => {
                let events = self.events(value, pointer, variables, false)?;
                Some(Until::Events(Box::new(events)))
            }
            other => {
                let message = format!("`until` must be an expression or events, not {}", is(other));
                self.problem(pointer, message);
                None
            }
        }
    }

    fn filters(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Vec<EventFilter>> {
        let Some(items) = value.as_array() else {
            self.problem(pointer, format!("must be a list of event filters, not {}", is(value)));
            return None;
        };
        if items.len() > limits::BRANCHES {
            let message =
                format!("there are {} filters, {} at most", items.len(), limits::BRANCHES);
            self.problem(pointer, message);
            return None;
        }
        let filters = items.iter().enumerate();
        let filters: Vec<Option<EventFilter>> = filters
            .map(|(index, item)| self.event_filter(item, &format!("{pointer}/{index}"), variables))
            .collect();
        filters.into_iter().collect()
    }

    fn event_filter(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<EventFilter> {
        let map = self.object(value, pointer, "an event filter")?;
        self.only(map, pointer, "an event filter", &["with", "correlate"]);
        let at_with = at(pointer, "with");
        let Some(with) = map.get("with") else {
            self.problem(at_with, "`with` is missing: what the event must be like");
            return None;
        };
        let with = self.object(with, &at_with, "`with`")?;
        if with.is_empty() {
            self.problem(at_with.clone(), "`with` is empty; `any: []` listens to every event");
        }
        let mut wanted = Vec::with_capacity(with.len());
        for (name, value) in with {
            let at_name = at(&at_with, name);
            self.attribute_name(name, &at_name);
            wanted.push((name.clone(), self.wanted(name, value, &at_name, variables)?));
        }
        let correlate = match map.get("correlate") {
            Some(correlate) => self.correlate(correlate, &at(pointer, "correlate"), variables)?,
            None => Vec::new(),
        };
        Some(EventFilter { with: wanted, correlate, message: None })
    }

    pub(super) fn attribute_name(&mut self, name: &str, pointer: &str) {
        if !is_attribute_name(name) {
            let message = format!(
                "`{name}` is not an attribute of an event: these have lower-case letters and digits"
            );
            self.problem(pointer, message);
        }
    }

    fn wanted(
        &mut self,
        name: &str,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Wanted> {
        match value {
            Value::String(text) if strip(text).is_some() => {
                self.expression(value, pointer, variables).map(Wanted::Expression)
            }
            Value::String(text) if name != "data" && text.contains(PATTERN) => {
                let whole = format!("^(?:{text})$");
                match RegexBuilder::new(&whole).size_limit(PATTERN_BYTES).build() {
                    Ok(pattern) => Some(Wanted::Pattern(text.clone(), pattern)),
                    Err(error) => {
                        let reason = error.to_string();
                        let reason = reason.lines().last().unwrap_or_default();
                        let message = format!("`{text}` is not a regular expression: {reason}");
                        self.problem(pointer, message);
                        None
                    }
                }
            }
            Value::String(_) => Some(Wanted::Value(value.clone())),
            other if name == "data" => match self.template(other, pointer, variables) {
                Template::Literal(value) => Some(Wanted::Value(value)),
                _ => {
                    let message = "an expression inside `data` is not supported in a filter; write \
                                   one expression for the whole, such as ${ .price > 10 }";
                    self.problem(pointer, message);
                    None
                }
            },
            Value::Bool(_) | Value::Number(_) => Some(Wanted::Value(value.clone())),
            other => {
                let message =
                    format!("`{name}` must be a text or an expression, not {}", is(other));
                self.problem(pointer, message);
                None
            }
        }
    }

    fn correlate(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Vec<(String, Correlation)>> {
        let map = self.object(value, pointer, "`correlate`")?;
        let mut correlations = Vec::with_capacity(map.len());
        for (name, value) in map {
            let pointer = at(pointer, name);
            let map = self.object(value, &pointer, "a correlation")?;
            self.only(map, &pointer, "a correlation", &["from", "expect"]);
            let at_from = at(&pointer, "from");
            let Some(from) = map.get("from") else {
                self.problem(at_from, "`from` is missing: where an event has the value");
                return None;
            };
            let from = self.expression(from, &at_from, variables)?;
            let expect = match map.get("expect") {
                None => None,
                Some(expect) => {
                    let at_expect = at(&pointer, "expect");
                    self.text(expect, &at_expect, "`expect`")?;
                    Some(self.template(expect, &at_expect, variables))
                }
            };
            correlations.push((name.clone(), Correlation { from, expect }));
        }
        Some(correlations)
    }

    /// The values of a correlation are kept by its name: it cannot be expected to be two things.
    fn check_expectations(&mut self, value: &Value, pointer: &str) {
        let mut known = BTreeMap::<&str, &Value>::new();
        let mut open = vec![value];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(values) => open.extend(values),
                Value::Object(map) => {
                    for (name, correlation) in
                        map.get("correlate").and_then(Value::as_object).into_iter().flatten()
                    {
                        let Some(expect) = correlation.get("expect") else { continue };
                        if *known.entry(name).or_insert(expect) != expect {
                            let message = format!(
                                "the correlation `{name}` has two values of `expect`; give the second another name"
                            );
                            self.problem(pointer, message);
                        }
                    }
                    let inside = ["one", "any", "all", "until"];
                    open.extend(inside.into_iter().filter_map(|name| map.get(name)));
                }
                _ => {}
            }
        }
    }
}
