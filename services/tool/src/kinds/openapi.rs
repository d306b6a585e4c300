//! `kind: openapi`: an operation of a document, or all of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use muster_contracts::JsonObject;
use muster_contracts::tool::v1::ToolDefinition;
use muster_document::marks;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};
use tracing::warn;

use super::http::{self, Select, selected};
use super::template::Places;
use super::{Entry, Kinds, Source, Tools, endpoint, with};
use crate::calls::{Described, for_caller};
use crate::domain::call::{Call, Definition, Effect};
use crate::domain::registration::{derived, is_small};
use crate::error::Error;
use crate::limits::Limits;
use crate::tools::{Tool, Work};

/// How long the tools of a document are used before it is read again.
const FRESH: Duration = Duration::from_secs(300);
/// The most tools of one document.
const MAX_TOOLS: usize = 512;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct With {
    document: Value,
    operation_id: Option<String>,
    include: Option<Vec<String>>,
    authentication: Option<Value>,
    /// What the caller does not choose.
    #[serde(default)]
    parameters: Map<String, Value>,
    output: Option<String>,
    #[serde(default)]
    redirect: bool,
    select: Option<Select>,
}

/// What the operations of a definition share.
struct Shared {
    kinds: Kinds,
    with: With,
    /// The arguments of `call: openapi` but the operation and its parameters.
    base: Map<String, Value>,
    fixed: Map<String, Value>,
    secrets: Vec<String>,
}

struct Operation {
    shared: Arc<Shared>,
    definition: Definition,
    id: String,
}

struct Document {
    shared: Arc<Shared>,
    definition: ToolDefinition,
    limits: Arc<Limits>,
    tools: Mutex<Option<(Tools, Instant)>>,
    /// One reader at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A definition of one operation gets its parameters from the document, where it does not say them itself.
pub(super) async fn complete(
    kinds: &Kinds,
    definition: ToolDefinition,
) -> Result<ToolDefinition, Error> {
    let shared = Shared::of(kinds, &definition)?;
    let Some(id) = &shared.with.operation_id else { return Ok(definition) };
    let described = definition.parameters.as_ref().is_some_and(|schema| schema.len() > 1);
    if described && !definition.description.is_empty() && !definition.effect.is_empty() {
        return Ok(definition);
    }
    let operations = shared.operations().await?;
    let Some(found) = operations.iter().find(|found| found.id == *id) else {
        let known: Vec<&str> = operations.iter().take(20).map(|found| found.id.as_str()).collect();
        return Err(Error::Invalid(format!(
            "the document has no operation {id:?}; it has {}: {}",
            operations.len(),
            known.join(", ")
        )));
    };
    let mut completed = definition;
    if !described {
        completed.parameters = Some(JsonObject::wrap(shared.parameters(found)));
    }
    if completed.description.is_empty() {
        completed.description.clone_from(&found.description);
    }
    if completed.effect.is_empty() {
        completed.effect = http::effect(found.method).name().to_owned();
    }
    Ok(completed)
}

/// What a definition comes to.
pub(super) fn entry(kinds: &Kinds, definition: &ToolDefinition) -> Result<Entry, Error> {
    let shared = Arc::new(Shared::of(kinds, definition)?);
    if let Some(id) = shared.with.operation_id.clone() {
        let operation =
            Operation { definition: super::described(definition, Effect::Once), id, shared };
        return kinds.tool(Box::new(operation), definition);
    }
    Ok(Entry::Source(Arc::new(Document {
        limits: Limits::of(&kinds.bus, &kinds.config, definition),
        definition: definition.clone(),
        shared,
        tools: Mutex::default(),
        turn: tokio::sync::Mutex::default(),
    })))
}

impl Shared {
    fn of(kinds: &Kinds, definition: &ToolDefinition) -> Result<Self, Error> {
        let with: With = with(definition)?;
        let none = Default::default();
        let places = Places { arguments: &none, secrets: &definition.secrets };
        let (uri, authentication) = endpoint("document", &with.document)?;
        let mut base = json!({
            "document": { "endpoint": { "uri": uri, "authentication": authentication } },
            "authentication": with.authentication,
            "redirect": with.redirect,
        });
        if let (Some(fields), Some(output)) = (base.as_object_mut(), &with.output) {
            fields.insert("output".to_owned(), json!(output));
        }
        let select = with.select.clone().map(http::checked).transpose()?;
        Ok(Self {
            kinds: kinds.clone(),
            base: object(places.fixed(&base)?),
            fixed: object(places.fixed(&Value::Object(with.parameters.clone()))?),
            secrets: definition.secrets.clone(),
            with: With { select, ..with },
        })
    }

    async fn operations(&self) -> Result<Vec<Described>, Error> {
        let call = Call {
            name: "call:openapi".to_owned(),
            arguments: self.base.clone(),
            secrets: self.secrets.clone(),
            ..Call::default()
        };
        let limit = self.kinds.config.timeout;
        let asked = timeout(limit, self.kinds.openapi.operations(&call)).await;
        asked.unwrap_or_else(|_elapsed| {
            let limit = limit.as_millis();
            Err(Error::unavailable(format!("the document was not there within {limit} ms")))
        })
    }

    /// What the caller chooses.
    fn parameters(&self, operation: &Described) -> Value {
        let mut schema = operation.parameters.clone();
        if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
            properties.retain(|name, _| !self.fixed.contains_key(name));
        }
        if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
            let is_fixed = |name: &Value| name.as_str().is_some_and(|n| self.fixed.contains_key(n));
            required.retain(|name| !is_fixed(name));
        }
        schema
    }
}

impl Operation {
    fn inner(&self, call: &Call) -> Call {
        let mut given = Value::Object(call.arguments.clone());
        // What comes from outside can stand for no secret.
        marks::unmark(&mut given);
        let mut parameters = object(given);
        parameters.extend(self.shared.fixed.clone());
        let mut arguments = self.shared.base.clone();
        arguments.insert("operationId".to_owned(), json!(self.id));
        arguments.insert("parameters".to_owned(), Value::Object(parameters));
        Call { arguments, secrets: self.shared.secrets.clone(), ..call.clone() }
    }
}

impl Tool for Operation {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async move {
            let answer = self.shared.kinds.openapi.call(&self.inner(call)).await;
            let answer = answer.map_err(|error| for_caller(error, self.definition.effect))?;
            Ok(selected(self.shared.with.select.as_ref(), answer))
        }
        .boxed()
    }
}

impl Document {
    fn kept(&self) -> Option<(Tools, Instant)> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn load(&self) -> Result<Tools, Error> {
        let fresh =
            || self.kept().filter(|(_, read)| read.elapsed() < FRESH).map(|(tools, _)| tools);
        if let Some(tools) = fresh() {
            return Ok(tools);
        }
        let _turn = self.turn.lock().await;
        if let Some(tools) = fresh() {
            return Ok(tools);
        }
        let operations = match (self.shared.operations().await, self.kept()) {
            (Ok(operations), _) => operations,
            (Err(error), Some((tools, _))) => {
                warn!(tool = self.definition.name, %error, "the document cannot be read again, its tools are those it had");
                return Ok(tools);
            }
            // No other try reaches a host that is not allowed.
            (Err(Error::Denied(error)), None) => {
                return Err(Error::Denied(format!("{}: {error}", self.who())));
            }
            (Err(error), None) => {
                return Err(Error::unavailable(format!("{}: {error}", self.who())));
            }
        };
        let tools = Arc::new(self.make(&operations)?);
        *self.tools.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((tools.clone(), Instant::now()));
        Ok(tools)
    }

    fn make(&self, operations: &[Described]) -> Result<Vec<Arc<crate::tools::Registered>>, Error> {
        let include = self.shared.with.include.as_ref();
        let wanted = |id: &String| include.is_none_or(|include| include.contains(id));
        let mut tools: Vec<Arc<crate::tools::Registered>> = Vec::new();
        for operation in operations.iter().filter(|operation| wanted(&operation.id)) {
            if tools.len() >= MAX_TOOLS {
                return Err(Error::Invalid(format!(
                    "{} has more than {MAX_TOOLS} operations: name those that are meant in `with.include`",
                    self.who()
                )));
            }
            let taken = |name: &str| tools.iter().any(|tool| tool.definition.name == name);
            let name = derived(&self.definition.name, &operation.id, taken);
            tools.push(self.tool(name, operation)?);
        }
        tools.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        Ok(tools)
    }

    /// One whose schema cannot be used takes any arguments: the server says what is wrong with them.
    fn tool(
        &self,
        name: String,
        operation: &Described,
    ) -> Result<Arc<crate::tools::Registered>, Error> {
        let effect = Effect::from_name(&self.definition.effect)
            .unwrap_or_else(|| http::effect(operation.method));
        let make = |parameters: Value| {
            let definition = Definition {
                name: name.clone().into(),
                description: operation.description.clone().into(),
                parameters,
                effect,
            };
            let tool =
                Operation { shared: self.shared.clone(), definition, id: operation.id.clone() };
            self.shared.kinds.tool_of(&self.definition, &self.limits, Box::new(tool))
        };
        let parameters = self.shared.parameters(operation);
        let any = || make(json!({ "type": "object" }));
        if is_small(&operation.description, &parameters) {
            make(parameters).or_else(|_error| any())
        } else {
            any()
        }
    }
}

impl Source for Document {
    fn definition(&self) -> &ToolDefinition {
        &self.definition
    }

    fn who(&self) -> String {
        format!("the OpenAPI document {:?}", self.definition.name)
    }

    fn tools(&self) -> BoxFuture<'_, Result<Tools, Error>> {
        self.load().boxed()
    }

    fn known(&self) -> Tools {
        self.kept().map(|(tools, _)| tools).unwrap_or_default()
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
