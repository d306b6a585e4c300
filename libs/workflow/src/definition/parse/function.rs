//! Functions: tasks that are defined once and called by name.

use serde_json::Value;

use super::external::is_external;
use super::task::Place;
use super::{Object, Parser, at, is};
use crate::expression::Template;
use crate::model::{Child, Kind, NodeId};
use crate::{WorkflowReference, limits};

/// The functions of the language and Muster's own, which no other may hide.
const TAKEN: [&str; 11] = [
    "agent", "tool", "model", "search", "template", "http", "openapi", "asyncapi", "grpc", "mcp",
    "a2a",
];
/// The catalog that needs no endpoint: its functions are the registered workflows.
const DEFAULT_CATALOG: &str = "default";

/// How far a function was parsed.
#[derive(Debug, Clone, Copy)]
pub(super) enum Function {
    /// Its task is being parsed: it must not call itself.
    Open,
    /// `None` where its task has problems.
    Parsed(Option<NodeId>),
}

impl<'d> Parser<'d> {
    /// Parses the functions of `use`, those that nothing calls included.
    pub(super) fn functions(&mut self, functions: &'d Object) {
        for name in functions.keys() {
            if TAKEN.contains(&name.as_str()) {
                let message = format!("`{name}` is a function of the runtime; choose another name");
                self.problem(at("/use/functions", name), message);
            }
            self.function(name, "");
        }
    }

    /// A call of a function that the document defines, or that a catalog has.
    ///
    /// `None` where `name` is neither.
    pub(super) fn call_function(
        &mut self,
        task: &Object,
        name: &str,
        pointer: &str,
    ) -> Option<Option<Kind>> {
        let defined = self.defined_function(name).is_some();
        if !defined && !is_external(name) {
            return None;
        }
        let at_with = at(pointer, "with");
        let variables = self.variables(&[]);
        let arguments = match task.get("with") {
            None => None,
            Some(with @ Value::Object(_)) => Some(self.template(with, &at_with, &variables)),
            Some(other) => {
                self.problem(at_with, format!("`with` must be a map, not {}", is(other)));
                return Some(None);
            }
        };
        let at_call = at(pointer, "call");
        if defined {
            let node = self.function(name, &at_call);
            return Some(node.map(|node| Kind::Function { arguments, body: Some([node]) }));
        }
        if let Some(workflow) = name.strip_suffix("@default").filter(|_| self.is_default_catalog())
        {
            return Some(self.workflow_function(workflow, arguments, pointer));
        }
        self.external_function(name, &at_call);
        Some(Some(Kind::Function { arguments, body: None }))
    }

    /// A function of the default catalog is a registered workflow.
    fn workflow_function(
        &mut self,
        name: &str,
        arguments: Option<Template>,
        pointer: &str,
    ) -> Option<Kind> {
        let Some((name, version)) = name.split_once(':') else {
            let message = format!("`{name}` has no version: write {name}:1.0.0@default");
            self.problem(at(pointer, "call"), message);
            return None;
        };
        // Names of workflows are unique over namespaces.
        let reference = WorkflowReference {
            namespace: String::new(),
            name: name.to_owned(),
            version: version.to_owned(),
        };
        let literal = |text: &str| Template::Literal(Value::from(text));
        let child = Child {
            namespace: literal(""),
            name: literal(name),
            version: literal(version),
            input: arguments,
            wait: true,
            is_called: true,
            output: true,
        };
        self.references.workflows.entry(reference).or_insert_with(|| pointer.to_owned());
        Some(Kind::Child(child))
    }

    fn is_default_catalog(&self) -> bool {
        let catalogs = self.reusable.and_then(|map| map.get("catalogs"));
        catalogs.is_none_or(|catalogs| catalogs.get(DEFAULT_CATALOG).is_none())
    }

    fn defined_function(&self, name: &str) -> Option<&'d Value> {
        self.reusable?.get("functions")?.as_object()?.get(name)
    }

    /// The task of a function; parsed when it is needed first, and shared by all who call it.
    fn function(&mut self, name: &str, caller: &str) -> Option<NodeId> {
        match self.functions.get(name) {
            Some(Function::Parsed(node)) => return *node,
            Some(Function::Open) => {
                let message = format!("the function `{name}` calls itself: it would never end");
                self.problem(caller, message);
                return None;
            }
            None => {}
        }
        let open = self.functions.values().filter(|state| matches!(state, Function::Open));
        if open.count() >= limits::FUNCTION_DEPTH {
            let depth = limits::FUNCTION_DEPTH;
            self.problem(caller, format!("functions call functions more than {depth} deep"));
            return None;
        }
        let value = self.defined_function(name)?;
        self.functions.insert(name.to_owned(), Function::Open);
        let pointer = at("/use/functions", name);
        let place = Place { owner: "", pointer, name, position: 0, names: &[] };
        // It sees its arguments and nothing of who calls it.
        let scope = std::mem::take(&mut self.scope);
        let depth = std::mem::replace(&mut self.depth, 1);
        let extending = std::mem::replace(&mut self.extending, false);
        let node = self.task(value, &place);
        (self.scope, self.depth, self.extending) = (scope, depth, extending);
        self.functions.insert(name.to_owned(), Function::Parsed(node));
        node
    }
}
