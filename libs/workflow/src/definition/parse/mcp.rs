//! `call: mcp`: a method of a server of the Model Context Protocol.

use serde_json::{Value, json};

use super::http::Keys;
use super::{Object, Parser, at, is};
use crate::Function;
use crate::expression::{Template, strip};
use crate::model::Kind;

const METHODS: [&str; 7] = [
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/read",
    "resources/templates/list",
];
/// The revisions that can be asked for.
const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

impl Parser<'_> {
    pub(super) fn mcp(&mut self, task: &Object, pointer: &str) -> Option<Kind> {
        let keys: Keys<'_> =
            (&["method", "transport"], &["protocolVersion", "parameters", "timeout", "client"]);
        let (with, pointer) = self.with(task, pointer, Function::Mcp.name(), keys)?;
        if let Some(method) = with.get("method") {
            self.one_of(method, &at(&pointer, "method"), "method", &METHODS);
        }
        if let Some(version) = with.get("protocolVersion") {
            self.one_of(version, &at(&pointer, "protocolVersion"), "protocolVersion", &VERSIONS);
        }
        if let Some(parameters) = with.get("parameters") {
            self.map_or_expression(parameters, &at(&pointer, "parameters"), "parameters");
        }
        if let Some(client) = with.get("client") {
            self.client(client, &at(&pointer, "client"));
        }
        let timeout = with.get("timeout").map(|timeout| (timeout, at(&pointer, "timeout")));
        let timeout = timeout.map(|(timeout, pointer)| self.milliseconds(timeout, &pointer));
        let transport = with.get("transport")?;
        let (transport, scheme) = self.transport(transport, &at(&pointer, "transport"))?;
        let Template::Object(mut entries) =
            self.arguments_with(with, &pointer, "transport", transport)
        else {
            return None;
        };
        if let Some(timeout) = timeout {
            entries.retain(|(key, _)| key != "timeout");
            entries.push(("timeout".to_owned(), Template::Literal(timeout?)));
        }
        let arguments = Template::Object(entries);
        Some(Kind::Call { function: Function::Mcp, arguments, scheme })
    }

    fn client(&mut self, value: &Value, pointer: &str) {
        let Some(map) = self.object(value, pointer, "`client`") else { return };
        self.only(map, pointer, "`client`", &["name", "version", "description"]);
        for field in ["name", "version"] {
            match map.get(field) {
                Some(value) => drop(self.text(value, &at(pointer, field), &format!("`{field}`"))),
                None => {
                    let message = format!("`{field}` is missing: who calls the server");
                    self.problem(at(pointer, field), message);
                }
            }
        }
    }

    /// A length as the tool service takes it: whole milliseconds.
    fn milliseconds(&mut self, value: &Value, pointer: &str) -> Option<Value> {
        if value.as_str().is_some_and(|text| strip(text).is_some()) {
            let message = "an expression is not supported as the timeout of a call; the task's \
                           own `timeout` may have one";
            self.problem(pointer, message);
            return None;
        }
        let length = self.duration(value, pointer)?;
        Some(json!(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The way to the server, with the scheme of its authentication.
    fn transport(
        &mut self,
        value: &Value,
        pointer: &str,
    ) -> Option<(Template, Option<&'static str>)> {
        let map = self.object(value, pointer, "`transport`")?;
        self.only(map, pointer, "`transport`", &["http", "stdio"]);
        match (map.get("http"), map.get("stdio")) {
            (Some(http), None) => {
                let (template, scheme) = self.http_transport(http, &at(pointer, "http"))?;
                Some((Template::Object(vec![("http".to_owned(), template)]), scheme))
            }
            (None, Some(stdio)) => {
                let template = self.stdio_transport(stdio, &at(pointer, "stdio"))?;
                Some((Template::Object(vec![("stdio".to_owned(), template)]), None))
            }
            _ => {
                let message = "`transport` must have one of `http` or `stdio`";
                self.problem(pointer, message);
                None
            }
        }
    }

    fn http_transport(
        &mut self,
        value: &Value,
        pointer: &str,
    ) -> Option<(Template, Option<&'static str>)> {
        let map = self.object(value, pointer, "`http`")?;
        self.only(map, pointer, "`http`", &["endpoint", "headers"]);
        self.plain_map(map, pointer, "headers");
        let at_endpoint = at(pointer, "endpoint");
        let Some(endpoint) = map.get("endpoint") else {
            self.problem(at_endpoint, "`endpoint` is missing: where the server is");
            return None;
        };
        let endpoint = self.endpoint(endpoint, &at_endpoint)?;
        let template = self.arguments_with(map, pointer, "endpoint", endpoint.template);
        Some((template, endpoint.scheme))
    }

    fn stdio_transport(&mut self, value: &Value, pointer: &str) -> Option<Template> {
        let map = self.object(value, pointer, "`stdio`")?;
        self.only(map, pointer, "`stdio`", &["command", "arguments", "environment"]);
        let at_command = at(pointer, "command");
        match map.get("command") {
            Some(command) => drop(self.text(command, &at_command, "`command`")?),
            None => self.problem(at_command, "`command` is missing: what starts the server"),
        }
        self.argument_list(map, pointer);
        self.plain_map(map, pointer, "environment");
        let variables = self.variables(&[]);
        Some(self.template(value, pointer, &variables))
    }

    /// Arguments of a program.
    pub(super) fn argument_list(&mut self, map: &Object, pointer: &str) {
        if let Some(other) = map.get("arguments").filter(|value| !value.is_array()) {
            let message = format!("`arguments` must be a list, not {}", is(other));
            self.problem(at(pointer, "arguments"), message);
        }
    }

    /// Environment of a program, or headers of a transport.
    pub(super) fn plain_map(&mut self, map: &Object, pointer: &str, field: &str) {
        if let Some(value) = map.get(field) {
            self.object(value, &at(pointer, field), &format!("`{field}`"));
        }
    }
}
