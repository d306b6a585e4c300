//! `call: http` and `call: openapi`, and endpoints in general.

use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::Function;
use crate::expression::{Expression, Template, UriTemplate, strip};
use crate::model::Kind;

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];
const OUTPUTS: [&str; 3] = ["raw", "content", "response"];

/// The arguments that a function must have, and those that it may have.
pub(super) type Keys<'a> = (&'a [&'a str], &'a [&'a str]);

/// An address with the scheme of its authentication.
pub(super) struct Endpoint {
    pub(super) template: Template,
    pub(super) scheme: Option<&'static str>,
}

impl Parser<'_> {
    pub(super) fn http(&mut self, task: &Object, pointer: &str) -> Option<Kind> {
        let keys: Keys<'_> =
            (&["method", "endpoint"], &["headers", "body", "query", "output", "redirect"]);
        let (with, pointer) = self.with(task, pointer, Function::Http.name(), keys)?;
        if let Some(method) = with.get("method") {
            self.method(method, &at(&pointer, "method"));
        }
        for field in ["headers", "query"] {
            if let Some(value) = with.get(field) {
                self.map_or_expression(value, &at(&pointer, field), field);
                self.texts(value, &at(&pointer, field), field);
            }
        }
        self.answer(with, &pointer);
        let endpoint = with.get("endpoint");
        let endpoint =
            endpoint.and_then(|value| self.endpoint(value, &at(&pointer, "endpoint")))?;
        let arguments = self.arguments_with(with, &pointer, "endpoint", endpoint.template);
        Some(Kind::Call { function: Function::Http, arguments, scheme: endpoint.scheme })
    }

    pub(super) fn openapi(&mut self, task: &Object, pointer: &str) -> Option<Kind> {
        let keys: Keys<'_> =
            (&["document", "operationId"], &["parameters", "authentication", "output", "redirect"]);
        let (with, pointer) = self.with(task, pointer, Function::Openapi.name(), keys)?;
        if let Some(operation) = with.get("operationId") {
            let operation = self.text(operation, &at(&pointer, "operationId"), "`operationId`")?;
            if operation.trim().is_empty() {
                self.problem(at(&pointer, "operationId"), "`operationId` is empty");
            }
        }
        if let Some(parameters) = with.get("parameters") {
            self.map_or_expression(parameters, &at(&pointer, "parameters"), "parameters");
        }
        self.answer(with, &pointer);
        let policy = with
            .get("authentication")
            .and_then(|value| self.authentication(value, &at(&pointer, "authentication")));
        let scheme = policy.as_ref().map(|policy| policy.scheme);
        let document = with.get("document")?;
        let document = self.external_resource(document, &at(&pointer, "document"))?;
        let Template::Object(mut entries) =
            self.arguments_with(with, &pointer, "document", document)
        else {
            return None;
        };
        if let Some(policy) = policy {
            entries.retain(|(key, _)| key != "authentication");
            entries.push(("authentication".to_owned(), policy.template));
        }
        let arguments = Template::Object(entries);
        Some(Kind::Call { function: Function::Openapi, arguments, scheme })
    }

    /// The arguments of a call of the DSL's own functions, with their pointer.
    pub(super) fn with<'v>(
        &mut self,
        task: &'v Object,
        pointer: &str,
        name: &str,
        (required, optional): Keys<'_>,
    ) -> Option<(&'v Object, String)> {
        let known: Vec<&str> = required.iter().chain(optional).copied().collect();
        let pointer = at(pointer, "with");
        let Some(with) = task.get("with") else {
            let known = known.join(", ");
            self.problem(pointer, format!("`with` is missing: the arguments of {name}: {known}"));
            return None;
        };
        let with = self.object(with, &pointer, "`with`")?;
        self.only(with, &pointer, &format!("`with` of `call: {name}`"), &known);
        for field in required.iter().filter(|field| !with.contains_key(**field)) {
            self.problem(at(&pointer, field), format!("`call: {name}` needs `{field}`"));
        }
        Some((with, pointer))
    }

    /// `with` as a template, where one of its fields is a template already.
    pub(super) fn arguments_with(
        &mut self,
        with: &Object,
        pointer: &str,
        field: &str,
        template: Template,
    ) -> Template {
        let variables = self.variables(&[]);
        let others = with.iter().filter(|(key, _)| *key != field && *key != "authentication");
        let mut entries: Vec<(String, Template)> = others
            .map(|(key, value)| (key.clone(), self.template(value, &at(pointer, key), &variables)))
            .collect();
        entries.push((field.to_owned(), template));
        Template::Object(entries)
    }

    fn method(&mut self, value: &Value, pointer: &str) {
        let Some(method) = self.text(value, pointer, "`method`") else { return };
        if strip(method).is_none() && !METHODS.contains(&method.to_ascii_lowercase().as_str()) {
            let message = format!("`{method}` is no HTTP method; there are {}", METHODS.join(", "));
            self.problem(pointer, message);
        }
    }

    /// `output` and `redirect`.
    fn answer(&mut self, with: &Object, pointer: &str) {
        if let Some(output) = with.get("output") {
            self.one_of(output, &at(pointer, "output"), "output", &OUTPUTS);
        }
        if let Some(redirect) = with.get("redirect").filter(|value| !value.is_boolean()) {
            let message = format!("`redirect` must be true or false, not {}", is(redirect));
            self.problem(at(pointer, "redirect"), message);
        }
    }

    pub(super) fn map_or_expression(&mut self, value: &Value, pointer: &str, what: &str) {
        match value {
            Value::Object(_) => {}
            Value::String(text) if strip(text).is_some() => {}
            other => {
                let message = format!("`{what}` must be a map or an expression, not {}", is(other));
                self.problem(pointer, message);
            }
        }
    }

    /// The DSL's schema has texts only, and says so in words that help nobody.
    fn texts(&mut self, value: &Value, pointer: &str, what: &str) {
        let entries = value.as_object().into_iter().flatten();
        for (name, value) in entries.filter(|(_, value)| !value.is_string()) {
            let message = format!(
                "`{name}` in `{what}` is {}, but the DSL wants a text there, or an expression, which may give any value: '${{ {value} }}'",
                is(value)
            );
            self.problem(at(pointer, name), message);
        }
    }

    /// A document that is somewhere else: `{name, endpoint}`.
    pub(super) fn external_resource(&mut self, value: &Value, pointer: &str) -> Option<Template> {
        let map = self.object(value, pointer, "an external resource")?;
        self.only(map, pointer, "an external resource", &["name", "endpoint"]);
        let pointer = at(pointer, "endpoint");
        let Some(endpoint) = map.get("endpoint") else {
            self.problem(pointer, "`endpoint` is missing: where the resource is");
            return None;
        };
        let endpoint = self.endpoint(endpoint, &pointer)?;
        Some(Template::Object(vec![("endpoint".to_owned(), endpoint.template)]))
    }

    /// A URI, an expression, or `{uri, authentication}`; the template always gives the last.
    pub(super) fn endpoint(&mut self, value: &Value, pointer: &str) -> Option<Endpoint> {
        let Value::Object(map) = value else {
            let uri = self.uri(value, pointer, "an endpoint")?;
            let template = Template::Object(vec![("uri".to_owned(), uri)]);
            return Some(Endpoint { template, scheme: None });
        };
        self.only(map, pointer, "an endpoint", &["uri", "authentication"]);
        let policy = map
            .get("authentication")
            .and_then(|value| self.authentication(value, &at(pointer, "authentication")));
        let at_uri = at(pointer, "uri");
        let Some(uri) = map.get("uri") else {
            self.problem(at_uri, "`uri` is missing: where the endpoint is");
            return None;
        };
        let mut entries = vec![("uri".to_owned(), self.uri(uri, &at_uri, "`uri`")?)];
        let scheme = policy.as_ref().map(|policy| policy.scheme);
        entries.extend(policy.map(|policy| ("authentication".to_owned(), policy.template)));
        Some(Endpoint { template: Template::Object(entries), scheme })
    }

    /// An absolute address, possibly with `{names}`, or an expression that gives one.
    pub(super) fn uri(&mut self, value: &Value, pointer: &str, what: &str) -> Option<Template> {
        let text = self.text(value, pointer, what)?;
        let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        if strip(text).is_none() && !is_web {
            let message =
                format!("{what} is {}, but must begin with https:// or http://", is(value));
            self.problem(pointer, message);
            return None;
        }
        self.uri_template(value, pointer, what)
    }

    /// A text with `{names}`, or an expression.
    pub(super) fn uri_template(
        &mut self,
        value: &Value,
        pointer: &str,
        what: &str,
    ) -> Option<Template> {
        let text = self.text(value, pointer, what)?;
        let parsed = match strip(text) {
            Some(_) => Expression::parse(text, &self.variables(&[])).map(Template::Expression),
            None => UriTemplate::parse(text).map(Template::Uri),
        };
        parsed.map_err(|message| self.problem(pointer, message)).ok()
    }
}
