//! Parts that workflows and tasks share: input, output, export, schemas, durations, timeouts.

use std::time::Duration;

use muster_document::Schema;
use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::duration;
use crate::expression::{Expression, strip};
use crate::model::{Length, Transform};

impl<'d> Parser<'d> {
    /// `input`, `output` or `export` of `owner`.
    pub(super) fn transform(
        &mut self,
        owner: &Object,
        pointer: &str,
        field: &str,
        variables: &[String],
    ) -> Transform {
        let Some(value) = owner.get(field) else { return Transform::default() };
        let pointer = at(pointer, field);
        let Some(map) = self.object(value, &pointer, &format!("`{field}`")) else {
            return Transform::default();
        };
        let change = if field == "input" { "from" } else { "as" };
        self.only(map, &pointer, &format!("`{field}`"), &["schema", change]);
        let template = map
            .get(change)
            .and_then(|value| self.transformation(value, &at(&pointer, change), variables));
        let schema =
            map.get("schema").and_then(|value| self.schema(value, &at(&pointer, "schema")));
        Transform { template, schema }
    }

    fn schema(&mut self, value: &Value, pointer: &str) -> Option<Schema> {
        let map = self.object(value, pointer, "`schema`")?;
        self.only(map, pointer, "`schema`", &["format", "document", "resource"]);
        match map.get("format") {
            None => {}
            Some(Value::String(format)) if format == "json" || format.starts_with("json:") => {}
            Some(other) => {
                let message =
                    format!("{} is not supported as a schema's format; use json", is(other));
                self.problem(at(pointer, "format"), message);
            }
        }
        if let (Some(resource), None) = (map.get("resource"), map.get("document")) {
            self.external_schema(resource, pointer);
            // Until it is there, nothing matches it.
            return Schema::parse(&Value::Bool(false)).ok();
        }
        let Some(document) = map.get("document") else {
            let message =
                "`document` is missing: the JSON Schema itself, or `resource`: where it is";
            self.problem(pointer, message);
            return None;
        };
        match Schema::parse(document) {
            Ok(schema) => Some(schema),
            Err(error) => {
                let message = format!("this is not a JSON Schema that can be used: {error}");
                self.problem(at(pointer, "document"), message);
                None
            }
        }
    }

    /// A timeout: its definition, or the name of one in `use.timeouts`.
    pub(super) fn timeout(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Length> {
        let Value::String(name) = value else {
            return self.timeout_definition(value, pointer, variables);
        };
        let found = self.reuse("timeouts", name, pointer)?;
        self.timeout_definition(found, pointer, variables)
    }

    pub(super) fn timeout_definition(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Length> {
        let map = self.object(value, pointer, "a timeout")?;
        self.only(map, pointer, "a timeout", &["after"]);
        let Some(after) = map.get("after") else {
            self.problem(pointer, "`after` is missing: the duration of the timeout");
            return None;
        };
        self.length(after, &at(pointer, "after"), variables)
    }

    /// A duration, or an expression that gives one.
    pub(super) fn length(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Length> {
        match value {
            Value::String(text) if strip(text).is_some() => {
                match Expression::parse(text, variables) {
                    Ok(expression) => Some(Length::Computed(expression)),
                    Err(message) => {
                        self.problem(pointer, message);
                        None
                    }
                }
            }
            other => self.duration(other, pointer).map(Length::Fixed),
        }
    }

    pub(super) fn duration(&mut self, value: &Value, pointer: &str) -> Option<Duration> {
        let parsed = match value {
            Value::Object(map) => duration::from_map(map),
            Value::String(text) => duration::from_iso(text),
            other => Err(format!(
                "a duration is a map such as {{seconds: 30}} or a string such as PT30S, not {}",
                is(other)
            )),
        };
        parsed.map_err(|message| self.problem(pointer, message)).ok()
    }

    /// The reusable part `name` of a section of `use`.
    pub(super) fn reuse(&mut self, section: &str, name: &str, pointer: &str) -> Option<&'d Value> {
        let entries = self.reusable.and_then(|map| map.get(section)).and_then(Value::as_object);
        if let Some(found) = entries.and_then(|entries| entries.get(name)) {
            return Some(found);
        }
        let names: Vec<_> = entries.into_iter().flat_map(|entries| entries.keys()).collect();
        let names = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ");
        let there = if names.is_empty() { "nothing".to_owned() } else { names };
        self.problem(pointer, format!("`{name}` is not in use.{section}, which has {there}"));
        None
    }
}
