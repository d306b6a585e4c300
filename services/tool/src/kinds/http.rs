//! `kind: http`: a request whose parts are filled from the arguments.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use muster_contracts::tool::v1::ToolDefinition;
use muster_document::marks;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::template::{Places, Template};
use super::{Kinds, described, endpoint, with};
use crate::calls::for_caller;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::tools::{Tool, Work};

const METHODS: [&str; 7] = ["get", "head", "post", "put", "patch", "delete", "options"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    #[serde(default = "get")]
    method: String,
    endpoint: Value,
    #[serde(default)]
    headers: Map<String, Value>,
    query: Option<Map<String, Value>>,
    body: Option<Value>,
    #[serde(default = "content")]
    output: String,
    #[serde(default)]
    redirect: bool,
    select: Option<Select>,
}

fn get() -> String {
    "get".to_owned()
}

fn content() -> String {
    "content".to_owned()
}

/// What is told of an answer: the value at a JSON pointer, or several by names.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Select {
    One(String),
    Several(Map<String, Value>),
}

struct Request {
    definition: Definition,
    /// `call: http`.
    http: Arc<dyn Tool>,
    /// Whether the definition says the class.
    is_classed: bool,
    method: String,
    uri: Template,
    authentication: Option<Value>,
    headers: Template,
    query: Option<Template>,
    body: Option<Template>,
    output: String,
    redirect: bool,
    select: Option<Select>,
    secrets: Vec<String>,
    /// The arguments that have a place; the others make the query, or the body.
    placed: BTreeSet<String>,
}

/// The tool of a definition.
pub(super) fn tool(kinds: &Kinds, definition: &ToolDefinition) -> Result<Box<dyn Tool>, Error> {
    let with: With = with(definition)?;
    let method = with.method.to_ascii_lowercase();
    if !METHODS.contains(&method.as_str()) {
        return Err(Error::Invalid(format!(
            "`with.method` is {:?}, but must be one of {}",
            with.method,
            METHODS.join(", ")
        )));
    }
    if !["content", "raw", "response"].contains(&with.output.as_str()) {
        return Err(Error::Invalid(format!(
            "`with.output` is {:?}, but must be content, raw or response",
            with.output
        )));
    }
    let arguments = arguments_of(definition);
    let places = Places { arguments: &arguments, secrets: &definition.secrets };
    let (uri, authentication) = endpoint("endpoint", &with.endpoint)?;
    let template = |value: Value| places.template(&value);
    let request = Request {
        definition: described(definition, effect(&method)),
        http: kinds.http.clone(),
        is_classed: !definition.effect.is_empty(),
        uri: address(&places, &uri)?,
        authentication: authentication.map(|policy| places.fixed(&policy)).transpose()?,
        headers: template(Value::Object(with.headers))?,
        query: with.query.map(|query| template(Value::Object(query))).transpose()?,
        body: with.body.map(template).transpose()?,
        output: with.output,
        redirect: with.redirect,
        select: with.select.map(checked).transpose()?,
        secrets: definition.secrets.clone(),
        placed: BTreeSet::new(),
        method,
    };
    Ok(Box::new(request.placed()))
}

/// The names of the arguments.
pub(super) fn arguments_of(definition: &ToolDefinition) -> BTreeSet<String> {
    let parameters = definition.parameters.as_ref().and_then(|schema| schema.get("properties"));
    let properties = parameters.and_then(Value::as_object);
    properties.into_iter().flat_map(Map::keys).cloned().collect()
}

fn address(places: &Places<'_>, uri: &str) -> Result<Template, Error> {
    let template = places.template(&Value::String(uri.to_owned()))?;
    let empty = places.arguments.iter().map(|name| (name.clone(), json!("x"))).collect();
    let filled = template.fill_uri(&empty)?;
    if let Some((_, rest)) = filled.split_once('{') {
        let name = rest.split('}').next().unwrap_or_default();
        return Err(Error::Invalid(format!(
            "`with.endpoint` has {{{name}}}, but `parameters.properties` has no {name:?}"
        )));
    }
    Ok(template)
}

pub(super) fn effect(method: &str) -> Effect {
    match method {
        "get" | "head" | "options" => Effect::Pure,
        "put" | "delete" => Effect::Idempotent,
        _ => Effect::Once,
    }
}

/// Pointers are checked when the tool is registered.
pub(super) fn checked(select: Select) -> Result<Select, Error> {
    let pointers: Vec<&str> = match &select {
        Select::One(pointer) => vec![pointer],
        Select::Several(fields) => {
            fields.values().map(|pointer| pointer.as_str().unwrap_or("?")).collect()
        }
    };
    match pointers.into_iter().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
        Some(wrong) => Err(Error::Invalid(format!(
            "`with.select` has {wrong:?}, but must have JSON pointers such as /items/0/name"
        ))),
        None => Ok(select),
    }
}

/// What is told of an answer. What is not there is null.
pub(super) fn selected(select: Option<&Select>, answer: Value) -> Value {
    let at = |pointer: &str| answer.pointer(pointer).cloned().unwrap_or_default();
    match select {
        None => answer,
        Some(Select::One(pointer)) => at(pointer),
        Some(Select::Several(fields)) => {
            let field = |(name, pointer): (&String, &Value)| {
                (name.clone(), at(pointer.as_str().unwrap_or_default()))
            };
            Value::Object(fields.iter().map(field).collect())
        }
    }
}

impl Request {
    fn placed(mut self) -> Self {
        let mut placed = BTreeSet::new();
        let parts = [Some(&self.uri), Some(&self.headers), self.query.as_ref(), self.body.as_ref()];
        parts.into_iter().flatten().for_each(|part| part.names(&mut placed));
        self.placed = placed;
        self
    }

    /// The call that the workflow language would make.
    fn inner(&self, call: &Call) -> Result<Call, Error> {
        let mut given = Value::Object(call.arguments.clone());
        // What comes from outside can stand for no secret.
        marks::unmark(&mut given);
        let Value::Object(given) = given else { return Err(Error::Invalid(String::new())) };
        let rest = || -> Map<String, Value> {
            let rest = given.iter().filter(|(name, _)| !self.placed.contains(*name));
            rest.map(|(name, value)| (name.clone(), value.clone())).collect()
        };
        let sends = matches!(self.method.as_str(), "post" | "put" | "patch");
        let query = match &self.query {
            Some(query) => query.fill(&given).unwrap_or_default(),
            None if sends || self.body.is_some() => Value::Null,
            None => Value::Object(rest()),
        };
        let body = match &self.body {
            Some(body) => body.fill(&given).unwrap_or_default(),
            None if sends && !rest().is_empty() => Value::Object(rest()),
            None => Value::Null,
        };
        let arguments = json!({
            "method": self.method,
            "endpoint": { "uri": self.uri.fill_uri(&given)?, "authentication": self.authentication },
            "headers": self.headers(call, &given),
            "query": query,
            "body": body,
            "output": self.output,
            "redirect": self.redirect,
        });
        let Value::Object(arguments) = arguments else { return Err(Error::Invalid(String::new())) };
        Ok(Call { arguments, secrets: self.secrets.clone(), ..call.clone() })
    }

    fn headers(&self, call: &Call, given: &Map<String, Value>) -> Value {
        let mut headers = self.headers.fill(given).unwrap_or_default();
        // Where the server heeds the key, a request that was lost may be sent again.
        let heeded = self.is_classed && self.definition.effect != Effect::Once;
        if let (true, Some(headers)) =
            (heeded && !call.idempotency_key.is_empty(), headers.as_object_mut())
        {
            headers.entry("idempotency-key").or_insert_with(|| json!(call.idempotency_key));
        }
        headers
    }
}

impl Tool for Request {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn effect(&self, _arguments: &Map<String, Value>) -> Effect {
        self.definition.effect
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async move {
            let answer = self.http.call(&self.inner(call)?).await;
            let answer = answer.map_err(|error| for_caller(error, self.definition.effect))?;
            Ok(selected(self.select.as_ref(), answer))
        }
        .boxed()
    }
}
