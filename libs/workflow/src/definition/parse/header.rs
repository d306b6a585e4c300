//! The parts of a document around its tasks.

use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::model::Model;

/// Variables of the workflow's own `input.from`.
const INPUT_VARIABLES: [&str; 3] = ["$workflow", "$runtime", "$secrets"];
/// Variables of the workflow's own `timeout`, which is known when the input is.
const TIMEOUT_VARIABLES: [&str; 4] = ["$input", "$workflow", "$runtime", "$secrets"];
/// Variables of the workflow's own `output.as`.
const OUTPUT_VARIABLES: [&str; 4] = ["$context", "$workflow", "$runtime", "$secrets"];

/// What `use` may have.
const USE: [&str; 8] = [
    "authentications",
    "catalogs",
    "errors",
    "extensions",
    "functions",
    "retries",
    "secrets",
    "timeouts",
];

impl<'d> Parser<'d> {
    pub(super) fn workflow(&mut self, root: &'d Object) -> Model {
        let known = ["document", "input", "use", "do", "timeout", "output", "schedule", "evaluate"];
        self.only(root, "", "a workflow", &known);
        match root.get("document") {
            Some(document) => self.document(document),
            None => self.problem("/document", "`document` is missing: it names the workflow"),
        }
        if let Some(evaluate) = root.get("evaluate") {
            self.evaluate(evaluate);
        }
        if let Some(reusable) = root.get("use") {
            self.reusable(reusable);
        }
        let input = self.transform(root, "", "input", &self.around(&INPUT_VARIABLES));
        let output = self.transform(root, "", "output", &self.around(&OUTPUT_VARIABLES));
        let variables = self.around(&TIMEOUT_VARIABLES);
        let timeout =
            root.get("timeout").and_then(|value| self.timeout(value, "/timeout", &variables));
        let tasks = match root.get("do") {
            Some(tasks) => self.list(tasks, "", "/do"),
            None => {
                self.problem("/do", "`do` is missing: the list of the workflow's tasks");
                Vec::new()
            }
        };
        let schedule = root.get("schedule").and_then(|value| self.schedule(value));
        self.weave();
        let nodes = std::mem::take(&mut self.nodes);
        let extensions = std::mem::take(&mut self.extensions);
        Model { nodes, root: tasks, input, output, timeout, schedule, extensions }
    }

    /// How expressions are evaluated.
    fn evaluate(&mut self, value: &Value) {
        let Some(map) = self.object(value, "/evaluate", "`evaluate`") else { return };
        self.only(map, "/evaluate", "`evaluate`", &["language", "mode"]);
        let language = map.get("language").map_or(Some("jq"), Value::as_str);
        if language != Some("jq") {
            let language = is(map.get("language").unwrap_or(&Value::Null));
            let message = format!("{language} is not supported; expressions are in jq");
            self.problem("/evaluate/language", message);
        }
        match map.get("mode").map_or(Some("strict"), Value::as_str) {
            Some("strict") => {}
            Some("loose") => self.is_loose = true,
            _ => {
                let mode = is(map.get("mode").unwrap_or(&Value::Null));
                let message = format!("`mode` is {mode}, but must be strict or loose");
                self.problem("/evaluate/mode", message);
            }
        }
    }

    fn document(&mut self, document: &Value) {
        let Some(map) = self.object(document, "/document", "`document`") else { return };
        let known = ["dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"];
        self.only(map, "/document", "`document`", &known);
        for field in ["dsl", "namespace", "name", "version"] {
            let pointer = at("/document", field);
            match map.get(field) {
                None => self.problem(pointer, format!("`{field}` is missing")),
                Some(Value::String(text)) => self.described(field, text, &pointer),
                Some(other) => {
                    let message =
                        format!("`{field}` must be a string, not {}; quote it", is(other));
                    self.problem(pointer, message);
                }
            }
        }
    }

    fn described(&mut self, field: &str, text: &str, pointer: &str) {
        match field {
            "dsl" if !text.starts_with("1.0.") => {
                let message = format!("DSL version `{text}` is not supported; it is 1.0.3 here");
                self.problem(pointer, message);
            }
            "namespace" | "name" if !is_label(text) => {
                let message = format!(
                    "`{text}` must have 1 to 63 letters, digits and hyphens, and neither begin \
                     nor end with a hyphen"
                );
                self.problem(pointer, message);
            }
            "version" if !is_version(text) => {
                let message = format!("`{text}` is not a semantic version such as 1.0.0");
                self.problem(pointer, message);
            }
            _ => {}
        }
    }

    /// Variables of a place outside of the tasks, with the declared secrets.
    fn around(&self, names: &[&str]) -> Vec<String> {
        let names = names.iter().map(|name| (*name).to_owned());
        names.chain(self.secret_variables()).collect()
    }

    /// Checks the reusable parts, those that nothing uses included.
    fn reusable(&mut self, reusable: &'d Value) {
        let Some(map) = self.object(reusable, "/use", "`use`") else { return };
        self.only(map, "/use", "`use`", &USE);
        if let Some(secrets) = map.get("secrets") {
            self.declared_secrets(secrets, "/use/secrets");
        }
        self.reusable_tasks(map);
        let known = |section: &&str| map.contains_key(*section);
        for section in
            ["authentications", "errors", "retries", "timeouts"].into_iter().filter(known)
        {
            let pointer = at("/use", section);
            let value = map.get(section).unwrap_or(&Value::Null);
            let Some(entries) = self.object(value, &pointer, "a section of `use`") else {
                continue;
            };
            for (name, entry) in entries {
                let pointer = at(&pointer, name);
                match section {
                    "authentications" => drop(self.policy(entry, &pointer)),
                    "errors" => drop(self.error(entry, &pointer)),
                    "retries" => drop(self.retry_policy(entry, &pointer)),
                    _ => drop(self.timeout_definition(
                        entry,
                        &pointer,
                        &self.around(&TIMEOUT_VARIABLES),
                    )),
                }
            }
        }
    }
}

impl<'d> Parser<'d> {
    /// The parts of `use` that have tasks, and the catalogs that these name.
    fn reusable_tasks(&mut self, map: &'d Object) {
        if let Some(value) = map.get("catalogs")
            && let Some(catalogs) = self.object(value, "/use/catalogs", "`catalogs`")
        {
            self.catalogs(catalogs);
        }
        if let Some(extensions) = map.get("extensions") {
            self.extensions(extensions);
        }
        if let Some(value) = map.get("functions")
            && let Some(functions) = self.object(value, "/use/functions", "`functions`")
        {
            self.functions(functions);
        }
    }
}

/// Whether a text may be a namespace or a name.
pub(super) fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len())
        && text.chars().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// Whether a text is a semantic version: three numbers, then perhaps `-pre.release` and `+build`.
pub(super) fn is_version(text: &str) -> bool {
    let (text, build) = text.split_once('+').unwrap_or((text, "0"));
    let (numbers, release) = text.split_once('-').unwrap_or((text, "0"));
    let number = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let label = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && release.split('.').all(label)
        && build.split('.').all(label)
}
