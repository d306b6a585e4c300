//! `call` tasks: Muster's own functions, and the way to those of the DSL.

use serde_json::Value;

use super::{Object, Parser, at};
use crate::Function;
use crate::expression::{Template, strip};
use crate::model::Kind;

/// What a function takes.
struct Signature {
    function: Function,
    /// The argument that names what is called; empty where it is one of several.
    name: &'static str,
    /// Groups of arguments of which exactly one must be there.
    one_of: &'static [&'static [&'static str]],
    optional: &'static [&'static str],
}

const SIGNATURES: [Signature; 5] = [
    Signature {
        function: Function::Agent,
        name: "agent",
        one_of: &[&["input", "prompt"]],
        optional: &["overrides", "thread", "message"],
    },
    Signature { function: Function::Tool, name: "tool", one_of: &[], optional: &["arguments"] },
    Signature {
        function: Function::Model,
        name: "model",
        one_of: &[&["prompt", "messages"]],
        optional: &["provider", "system", "temperature", "max_tokens", "response_schema"],
    },
    Signature {
        function: Function::Search,
        name: "collection",
        one_of: &[&["query"]],
        optional: &["top_k", "filter"],
    },
    Signature {
        function: Function::Template,
        name: "",
        one_of: &[&["template", "stage"]],
        optional: &["version", "vars"],
    },
];

/// The stages whose templates are built in; `spec` is short for the first.
const STAGES: [&str; 6] =
    ["spec", "specification", "pseudocode", "architecture", "refinement", "completion"];

impl Signature {
    fn known(&self) -> Vec<&'static str> {
        let required = self.one_of.iter().copied().flatten().copied();
        let all = [self.name].into_iter().chain(required).chain(self.optional.iter().copied());
        all.filter(|name| !name.is_empty()).collect()
    }
}

impl Parser<'_> {
    pub(super) fn call(&mut self, task: &Object, name: &Value, pointer: &str) -> Option<Kind> {
        let kind = self.called(task, name, pointer);
        if kind.is_none() {
            self.unread_arguments(task, pointer);
        }
        kind
    }

    fn called(&mut self, task: &Object, name: &Value, pointer: &str) -> Option<Kind> {
        let at_call = at(pointer, "call");
        let name = self.text(name, &at_call, "`call`")?;
        match name {
            "http" => return self.http(task, pointer),
            "openapi" => return self.openapi(task, pointer),
            "mcp" => return self.mcp(task, pointer),
            "a2a" => return self.a2a(task, pointer),
            "asyncapi" => return self.asyncapi(task, pointer),
            _ => {}
        }
        if let Some(kind) = self.call_function(task, name, pointer) {
            return kind;
        }
        let Some(signature) = SIGNATURES.iter().find(|known| known.function.name() == name) else {
            let known = SIGNATURES.each_ref().map(|signature| signature.function.name());
            let known = format!("http, openapi, asyncapi, mcp, a2a, {}", known.join(", "));
            let message = format!("`call: {name}` is not supported; supported are {known}");
            self.problem(at_call, message);
            return None;
        };
        let at_with = at(pointer, "with");
        let Some(with) = task.get("with") else {
            let known = signature.known().join(", ");
            self.problem(at_with, format!("`with` is missing: the arguments of {name}: {known}"));
            return None;
        };
        let with = self.object(with, &at_with, "`with`")?;
        self.arguments(signature, with, &at_with);
        let variables = self.variables(&[]);
        let arguments = self.template(&Value::Object(with.clone()), &at_with, &variables);
        Some(Kind::Call { function: signature.function, arguments, scheme: None })
    }

    fn arguments(&mut self, signature: &Signature, with: &Object, pointer: &str) {
        let name = signature.function.name();
        self.only(with, pointer, &format!("`with` of `call: {name}`"), &signature.known());
        for group in signature.one_of {
            let given = group.iter().filter(|argument| with.contains_key(**argument)).count();
            if given != 1 {
                let what = group.join("` or `");
                let message = match given {
                    0 => format!("`call: {name}` needs `{what}`"),
                    _ => format!("`call: {name}` takes only one of `{what}`"),
                };
                self.problem(pointer, message);
            }
        }
        if signature.function == Function::Template {
            self.template_named(with, pointer);
        } else {
            self.named(signature, with, pointer);
        }
        for argument in ["arguments", "vars"] {
            if let Some(value) = with.get(argument) {
                self.map_or_expression(value, &at(pointer, argument), argument);
            }
        }
    }

    /// Checks what says which template is filled.
    fn template_named(&mut self, with: &Object, pointer: &str) {
        for argument in ["template", "stage", "version"] {
            let Some(value) = with.get(argument) else { continue };
            let at_name = at(pointer, argument);
            let Some(name) = self.text(value, &at_name, &format!("`{argument}`")) else { continue };
            if strip(name).is_some() {
                continue;
            }
            if name.trim().is_empty() {
                self.problem(at_name, format!("`{argument}` is empty"));
            } else if argument == "stage" && !STAGES.contains(&name) {
                let known = STAGES.join(", ");
                let message = format!("`stage` is {name:.80?}, but must be one of {known}");
                self.problem(at_name, message);
            }
        }
    }

    /// Checks the argument that names what is called, and remembers the name.
    fn named(&mut self, signature: &Signature, with: &Object, pointer: &str) {
        let at_name = at(pointer, signature.name);
        let function = signature.function.name();
        let Some(value) = with.get(signature.name) else {
            let message = format!("`call: {function}` needs `{}`", signature.name);
            self.problem(at_name, message);
            return;
        };
        let Some(name) = self.text(value, &at_name, &format!("`{}`", signature.name)) else {
            return;
        };
        if name.trim().is_empty() {
            self.problem(at_name, format!("`{}` is empty", signature.name));
            return;
        }
        if strip(name).is_some() {
            return;
        }
        let task = pointer.strip_suffix("/with").unwrap_or(pointer).to_owned();
        let references = match signature.function {
            Function::Agent => &mut self.references.agents,
            Function::Tool => &mut self.references.tools,
            Function::Model => &mut self.references.models,
            Function::Search => &mut self.references.collections,
            // Named by an address or a program, or checked by itself.
            Function::Template
            | Function::Http
            | Function::Openapi
            | Function::Mcp
            | Function::A2a
            | Function::Run => return,
        };
        references.entry(name.to_owned()).or_insert(task);
    }
}

/// The argument that names what a function calls.
pub(crate) fn naming_argument(function: Function) -> &'static str {
    let signature = SIGNATURES.iter().find(|signature| signature.function == function);
    signature.map_or("", |signature| signature.name)
}

/// Whether a template can give a string.
pub(super) fn may_be_text(template: &Template) -> bool {
    match template {
        Template::Literal(value) => value.is_string(),
        Template::Expression(_) | Template::Loose(..) | Template::Uri(_) => true,
        Template::Array(_) | Template::Object(_) => false,
    }
}
