//! `emit` tasks.

use serde_json::Value;

use super::{Parser, at};
use crate::expression::strip;
use crate::model::{Emit, Kind};

/// Attributes that every event has, and that a document must give.
const REQUIRED: [&str; 2] = ["source", "type"];

impl Parser<'_> {
    pub(super) fn emit(&mut self, value: &Value, pointer: &str) -> Option<Kind> {
        let at_emit = at(pointer, "emit");
        let map = self.object(value, &at_emit, "`emit`")?;
        self.only(map, &at_emit, "`emit`", &["event"]);
        let at_event = at(&at_emit, "event");
        let Some(event) = map.get("event") else {
            self.problem(at_event, "`event` is missing: the event to tell the world of");
            return None;
        };
        let event = self.object(event, &at_event, "`event`")?;
        self.only(event, &at_event, "`event`", &["with"]);
        let at_with = at(&at_event, "with");
        let Some(with) = event.get("with") else {
            self.problem(at_with, "`with` is missing: the attributes of the event");
            return None;
        };
        let attributes = self.object(with, &at_with, "`with`")?;
        for required in REQUIRED.into_iter().filter(|name| !attributes.contains_key(*name)) {
            self.problem(at(&at_with, required), format!("`{required}` is missing"));
        }
        for (name, value) in attributes {
            let pointer = at(&at_with, name);
            self.attribute_name(name, &pointer);
            self.attribute(name, value, &pointer);
        }
        let variables = self.variables(&[]);
        let with = self.template(with, &at_with, &variables);
        Some(Kind::Emit(Emit { with, is_called: false }))
    }

    /// Checks what is known of an attribute before it is evaluated.
    fn attribute(&mut self, name: &str, value: &Value, pointer: &str) {
        if name == "data" || value.as_str().is_some_and(|text| strip(text).is_some()) {
            return;
        }
        let event = [(name.to_owned(), value.clone())].into_iter().collect();
        if let Err(error) = crate::event::check_attributes(&event) {
            let message = error.detail.trim_start_matches("emit: ").to_owned();
            self.problem(pointer, message);
        }
    }
}
