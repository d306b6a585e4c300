//! `run` tasks of programs: scripts and shell commands.

use serde_json::{Value, json};

use super::{Object, Parser, at};
use crate::Function;
use crate::expression::{Template, strip};
use crate::model::Kind;

const LANGUAGES: [&str; 3] = ["python", "js", "javascript"];
const RETURNS: [&str; 5] = ["stdout", "stderr", "code", "all", "none"];
/// What the program of a task gets.
const GIVEN: [&str; 3] = ["stdin", "arguments", "environment"];

impl Parser<'_> {
    /// `run` with a `script` or a `shell`.
    pub(super) fn process(&mut self, map: &Object, pointer: &str) -> Option<Kind> {
        let what = if map.contains_key("script") { "script" } else { "shell" };
        self.only(map, pointer, &format!("`run: {what}`"), &[what, "await", "return"]);
        let wait = self.flag(map, "await", pointer);
        if let Some(value) = map.get("return") {
            let at_return = at(pointer, "return");
            if value.as_str().is_some_and(|text| strip(text).is_some()) {
                self.problem(&at_return, "an expression is not supported as `return`");
            }
            self.one_of(value, &at_return, "return", &RETURNS);
        }
        let at_program = at(pointer, what);
        let program = self.object(map.get(what)?, &at_program, &format!("`{what}`"))?;
        let template = match what {
            "script" => self.script(program, &at_program)?,
            _ => self.shell(program, &at_program)?,
        };
        let mut entries = vec![(what.to_owned(), template)];
        if let Some(value) = map.get("return") {
            entries.push(("return".to_owned(), Template::Literal(value.clone())));
        }
        if !wait {
            entries.push(("await".to_owned(), Template::Literal(json!(false))));
        }
        let arguments = Template::Object(entries);
        Some(Kind::Call { function: Function::Run, arguments, scheme: None })
    }

    fn script(&mut self, map: &Object, pointer: &str) -> Option<Template> {
        let known: Vec<&str> =
            ["language", "code", "source"].iter().chain(&GIVEN).copied().collect();
        self.only(map, pointer, "`script`", &known);
        let at_language = at(pointer, "language");
        match map.get("language") {
            Some(Value::String(text)) if LANGUAGES.contains(&text.as_str()) => {}
            Some(Value::String(text)) => {
                let known = LANGUAGES.join(", ");
                let message =
                    format!("the language `{text}` is not supported; supported are {known}");
                self.problem(at_language, message);
            }
            Some(other) => drop(self.text(other, &at_language, "`language`")),
            None => self.problem(at_language, "`language` is missing: python or js"),
        }
        if map.contains_key("code") == map.contains_key("source") {
            let message = "`script` must have one of `code` or `source`: the script or where it is";
            self.problem(pointer, message);
            return None;
        }
        if let Some(code) = map.get("code") {
            self.text(code, &at(pointer, "code"), "`code`")?;
        }
        self.given(map, pointer);
        let Some(source) = map.get("source") else {
            let variables = self.variables(&[]);
            return Some(self.template(&Value::Object(map.clone()), pointer, &variables));
        };
        let source = self.external_resource(source, &at(pointer, "source"))?;
        Some(self.arguments_with(map, pointer, "source", source))
    }

    fn shell(&mut self, map: &Object, pointer: &str) -> Option<Template> {
        let known: Vec<&str> = ["command"].iter().chain(&GIVEN).copied().collect();
        self.only(map, pointer, "`shell`", &known);
        let at_command = at(pointer, "command");
        match map.get("command") {
            Some(command) => drop(self.text(command, &at_command, "`command`")?),
            None => self.problem(at_command, "`command` is missing: what to run"),
        }
        self.given(map, pointer);
        let variables = self.variables(&[]);
        Some(self.template(&Value::Object(map.clone()), pointer, &variables))
    }

    fn given(&mut self, map: &Object, pointer: &str) {
        if let Some(stdin) = map.get("stdin") {
            self.text(stdin, &at(pointer, "stdin"), "`stdin`");
        }
        self.argument_list(map, pointer);
        self.plain_map(map, pointer, "environment");
    }
}
