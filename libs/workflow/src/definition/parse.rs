//! From a document to a model, with every problem that it has.

mod a2a;
mod asyncapi;
mod authentication;
mod call;
mod catch;
mod common;
mod conformance;
mod emit;
mod endless;
mod extension;
mod external;
mod function;
mod header;
mod http;
mod listen;
mod mcp;
mod process;
mod run;
mod schedule;
mod secrets;
mod task;
mod unclosed;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::References;
use crate::expression::{Expression, Template};
use crate::external::External;
use crate::model::{Extension, Model, Node};
use crate::pointer::escape;
use crate::problem::Problems;

pub(crate) use self::call::naming_argument;

type Object = Map<String, Value>;

/// Variables that every expression of a task can read.
const TASK_VARIABLES: [&str; 7] =
    ["$context", "$input", "$task", "$workflow", "$runtime", "$secrets", "$authorization"];

/// What a document says.
pub(super) struct Parsed {
    pub(super) model: Model,
    pub(super) references: References,
    pub(super) externals: Vec<External>,
}

/// Parses a document; the error is never empty.
pub(super) fn parse(document: &Value) -> Result<Parsed, Problems> {
    let Some(root) = document.as_object() else {
        let message =
            format!("the document is {}, not a map with `document` and `do`", is(document));
        return Err(Problems::one("", message));
    };
    let mut parser = Parser::new(root);
    let model = parser.workflow(root);
    if parser.problems.0.is_empty() {
        // What is checked above has clear messages; the specification's own schema has the last
        // word, so that nothing passes here that another runtime would refuse.
        conformance::check(document, &model.nodes, &mut parser.problems);
    }
    if parser.problems.0.is_empty() {
        Ok(Parsed { model, references: parser.references, externals: parser.externals })
    } else {
        Err(parser.problems)
    }
}

struct Parser<'d> {
    /// The `use` section.
    reusable: Option<&'d Object>,
    problems: Problems,
    nodes: Vec<Node>,
    references: References,
    /// Variables of the loops and catches around the current task.
    scope: Vec<String>,
    /// The secrets that it declares.
    secrets: Vec<String>,
    /// Where its messages come from: a URI reference.
    source: String,
    depth: usize,
    /// How far each function of `use` was parsed.
    functions: BTreeMap<String, function::Function>,
    extensions: Vec<Extension>,
    /// Whether the current task belongs to an extension.
    extending: bool,
    externals: Vec<External>,
    /// Whether `evaluate.mode` is loose.
    is_loose: bool,
    /// The catalogs of `use`: address and authentication; `None` where these have problems.
    catalogs: BTreeMap<String, Option<(String, Option<Value>)>>,
}

impl<'d> Parser<'d> {
    fn new(root: &'d Object) -> Parser<'d> {
        Parser {
            reusable: root.get("use").and_then(Value::as_object),
            problems: Problems::default(),
            nodes: Vec::new(),
            references: References::default(),
            scope: Vec::new(),
            secrets: secrets::declared(root),
            source: source(root),
            depth: 0,
            functions: BTreeMap::new(),
            extensions: Vec::new(),
            extending: false,
            externals: Vec::new(),
            is_loose: false,
            catalogs: BTreeMap::new(),
        }
    }

    fn problem(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.problems.add(pointer, message);
    }

    /// Refuses keys that are not `known`: nothing in a document is silently ignored.
    fn only(&mut self, map: &Object, pointer: &str, what: &str, known: &[&str]) {
        for key in map.keys().filter(|key| !known.contains(&key.as_str())) {
            let message =
                format!("`{key}` is not supported in {what}; supported are {}", known.join(", "));
            self.problem(at(pointer, key), message);
        }
    }

    fn object<'v>(&mut self, value: &'v Value, pointer: &str, what: &str) -> Option<&'v Object> {
        let object = value.as_object();
        if object.is_none() {
            self.problem(pointer, format!("{what} must be a map, not {}", is(value)));
        }
        object
    }

    fn text<'v>(&mut self, value: &'v Value, pointer: &str, what: &str) -> Option<&'v str> {
        let text = value.as_str();
        if text.is_none() {
            self.problem(pointer, format!("{what} must be a string, not {}", is(value)));
        }
        text
    }

    /// Variables of the current place, those of loops and catches included.
    fn variables(&self, also: &[&str]) -> Vec<String> {
        let own = TASK_VARIABLES.iter().chain(also).map(|name| (*name).to_owned());
        own.chain(self.scope.iter().cloned()).chain(self.secret_variables()).collect()
    }

    /// Variables of the current place but these.
    fn variables_without(&self, unknown: &[&str]) -> Vec<String> {
        let mut variables = self.variables(&[]);
        variables.retain(|name| !unknown.contains(&name.as_str()));
        variables
    }

    /// The declared secrets, as an expression's variables have them.
    fn secret_variables(&self) -> impl Iterator<Item = String> + '_ {
        self.secrets.iter().map(|name| format!("$secrets.{name}"))
    }

    /// An expression, bare or in `${ }`.
    fn expression(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Expression> {
        let text = self.text(value, pointer, "an expression")?;
        match Expression::parse(text, variables) {
            Ok(expression) => Some(expression),
            Err(message) => {
                self.problem(pointer, message);
                None
            }
        }
    }

    /// A value whose strings may be expressions in `${ }`.
    fn template(&mut self, value: &Value, pointer: &str, variables: &[String]) -> Template {
        if self.is_loose {
            return Template::loose(value, variables);
        }
        Template::parse(value, pointer, variables, &mut |pointer, message| {
            self.problems.add(pointer, message);
        })
    }

    /// Where the DSL has an expression as a string, or a map with expressions in it.
    fn transformation(
        &mut self,
        value: &Value,
        pointer: &str,
        variables: &[String],
    ) -> Option<Template> {
        match value {
            Value::String(_) => {
                self.expression(value, pointer, variables).map(Template::Expression)
            }
            Value::Object(_) => Some(self.template(value, pointer, variables)),
            other => {
                let message = format!("must be an expression or a map, not {}", is(other));
                self.problem(pointer, message);
                None
            }
        }
    }
}

/// What the workflow is as the source of messages.
fn source(root: &Object) -> String {
    let document = root.get("document");
    let text = |name| document.and_then(|map| map.get(name)?.as_str()).unwrap_or_default();
    format!("/workflows/{}/{}", text("namespace"), text("name"))
}

/// The pointer of `key` below `pointer`.
fn at(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", escape(key))
}

/// What a value is, for a message.
fn is(value: &Value) -> String {
    const LENGTH: usize = 60;
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Number(value) => format!("the number {value}"),
        Value::String(text) if text.chars().count() > LENGTH => {
            format!("the string `{}…`", text.chars().take(LENGTH).collect::<String>())
        }
        Value::String(text) => format!("the string `{text}`"),
        Value::Array(values) => format!("a list of {}", values.len()),
        Value::Object(map) => format!("a map of {}", map.len()),
    }
}
