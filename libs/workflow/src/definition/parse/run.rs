//! `run` tasks: other workflows, and the way to programs.

use serde_json::Value;

use super::header::{is_label, is_version};
use super::{Object, Parser, at, is};
use crate::WorkflowReference;
use crate::expression::{Template, strip};
use crate::model::{Child, Kind};

/// The keys of a `run` of a workflow.
const KEYS: [&str; 3] = ["workflow", "await", "return"];

impl Parser<'_> {
    pub(super) fn run(&mut self, value: &Value, pointer: &str) -> Option<Kind> {
        let pointer = at(pointer, "run");
        let map = self.object(value, &pointer, "`run`")?;
        if map.contains_key("container") {
            let message = "`run: container` is not supported: nothing here runs containers; call \
                           a worker as a tool instead";
            self.problem(at(&pointer, "container"), message);
            return None;
        }
        if map.contains_key("script") || map.contains_key("shell") {
            return self.process(map, &pointer);
        }
        self.only(map, &pointer, "`run`", &KEYS);
        let Some(workflow) = map.get("workflow") else {
            self.problem(
                at(&pointer, "workflow"),
                "`workflow` is missing: what to run (or `script`, `shell`)",
            );
            return None;
        };
        let wait = self.flag(map, "await", &pointer);
        let output = self.returned(map, &pointer);
        self.child(workflow, &at(&pointer, "workflow"), wait, output)
    }

    /// A key that is true unless the document says otherwise.
    pub(super) fn flag(&mut self, map: &Object, key: &str, pointer: &str) -> bool {
        match map.get(key) {
            None => true,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                let message = format!("`{key}` must be true or false, not {}", is(other));
                self.problem(at(pointer, key), message);
                true
            }
        }
    }

    /// Whether the child's output is the task's.
    fn returned(&mut self, map: &Object, pointer: &str) -> bool {
        match map.get("return").map(Value::as_str) {
            None | Some(Some("stdout")) => return true,
            Some(Some("none")) => return false,
            Some(_) => {}
        }
        let message = format!(
            "`return` is {}, but a workflow has an output and neither streams nor an exit code: \
             use stdout (its output, the default) or none",
            is(map.get("return").unwrap_or(&Value::Null))
        );
        self.problem(at(pointer, "return"), message);
        true
    }

    fn child(&mut self, value: &Value, pointer: &str, wait: bool, output: bool) -> Option<Kind> {
        let map = self.object(value, pointer, "`workflow`")?;
        self.only(map, pointer, "`workflow`", &["namespace", "name", "version", "input"]);
        let namespace = self.naming(map, "namespace", pointer);
        let name = self.naming(map, "name", pointer);
        let version = self.naming(map, "version", pointer);
        let variables = self.variables(&[]);
        let input =
            map.get("input").map(|input| self.template(input, &at(pointer, "input"), &variables));
        let (namespace, name, version) = (namespace?, name?, version?);
        if let (Some(namespace), Some(name), Some(version)) =
            (literal(&namespace), literal(&name), literal(&version))
        {
            let reference = WorkflowReference { namespace, name, version };
            let task = pointer.strip_suffix("/run/workflow").unwrap_or(pointer).to_owned();
            self.references.workflows.entry(reference).or_insert(task);
        }
        Some(Kind::Child(Child { namespace, name, version, input, wait, is_called: false, output }))
    }

    /// A part of a workflow's name: itself, or an expression that gives it.
    fn naming(&mut self, map: &Object, field: &str, pointer: &str) -> Option<Template> {
        let pointer = at(pointer, field);
        let Some(value) = map.get(field) else {
            let message = format!("`{field}` is missing: which workflow to run");
            self.problem(pointer, message);
            return None;
        };
        let text = self.text(value, &pointer, &format!("`{field}`"))?;
        if strip(text).is_none() {
            let (right, example) = match field {
                "version" => (text == "latest" || is_version(text), "1.0.0, or latest"),
                _ => (is_label(text), "1 to 63 letters, digits and hyphens"),
            };
            if !right {
                self.problem(pointer, format!("`{text}` is no {field} of a workflow: {example}"));
                return None;
            }
        }
        let variables = self.variables(&[]);
        Some(self.template(value, &pointer, &variables))
    }
}

fn literal(template: &Template) -> Option<String> {
    match template {
        Template::Literal(Value::String(text)) => Some(text.clone()),
        _ => None,
    }
}
