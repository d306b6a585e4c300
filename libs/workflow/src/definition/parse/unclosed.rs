//! Expressions without an end, where other problems hide them.

use serde_json::Value;

use super::{Object, Parser, at};
use crate::expression::unclosed;

/// Parts of a task that have no expressions.
const PLAIN: [&str; 2] = ["metadata", "schema"];
/// Arguments that are more than templates: what is wrong in them is told where they are read.
const READ_ELSEWHERE: [&str; 6] =
    ["authentication", "document", "endpoint", "server", "subscription", "transport"];

impl Parser<'_> {
    /// Tells every open `${` of a task that has problems: its parts need not have been read to the end.
    pub(super) fn unclosed_in(&mut self, value: &Value, pointer: &str) {
        match value {
            Value::String(text) if !self.is_loose => {
                if let Some(message) = unclosed(text) {
                    self.problem(pointer, message);
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.unclosed_in(item, &format!("{pointer}/{index}"));
                }
            }
            Value::Object(map) => {
                for (key, value) in map.iter().filter(|(key, _)| !PLAIN.contains(&key.as_str())) {
                    self.unclosed_in(value, &at(pointer, key));
                }
            }
            _ => {}
        }
    }

    /// Tells what is wrong with the arguments of a call that was given up before they were read.
    pub(super) fn unread_arguments(&mut self, task: &Object, pointer: &str) {
        let pointer = at(pointer, "with");
        let Some(with) = task.get("with").and_then(Value::as_object) else { return };
        let told = self.problems.0.len();
        let variables = self.variables(&[]);
        for (key, value) in with.iter().filter(|(key, _)| !READ_ELSEWHERE.contains(&key.as_str())) {
            self.template(value, &at(&pointer, key), &variables);
        }
        let (before, after) = self.problems.0.split_at(told);
        let unknown = |pointer: &str| before.iter().all(|problem| problem.pointer != pointer);
        let new = after.iter().filter(|problem| unknown(&problem.pointer)).cloned();
        let all = before.iter().cloned().chain(new).collect();
        self.problems.0 = all;
    }
}
