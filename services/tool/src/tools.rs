//! The tools behind one trait, and their registry.

mod calculate;
pub(crate) mod definitions;
mod deliverable;
mod echo;
mod http;
mod search;
mod text;
pub(crate) mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::future::BoxFuture;
use muster_bus::Bus;
use muster_contracts::JsonObject;
use muster_contracts::tool::v1::ToolDefinition;
use muster_document::Schema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::calls::{self, Net};
use crate::config::Config;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::kinds::Kinds;
use crate::limits::Limits;
use crate::outbound::Outbound;
use crate::tools::definitions::Definitions;

/// What is done with a call.
pub(crate) type Work<'a> = BoxFuture<'a, Result<Value, Error>>;

/// A tool.
pub(crate) trait Tool: Send + Sync {
    /// What it says about itself.
    fn definition(&self) -> Definition;

    /// What a second call with these arguments does.
    fn effect(&self, _arguments: &Map<String, Value>) -> Effect {
        self.definition().effect
    }

    /// The same, where it takes a look outside to know it. Nothing has happened yet.
    fn prepare<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Effect, Error>> {
        let effect = self.effect(&call.arguments);
        Box::pin(async move { Ok(effect) })
    }

    /// Does it. The arguments fit the schema.
    fn call<'a>(&'a self, call: &'a Call) -> Work<'a>;
}

/// A tool with what the registry needs of it.
pub(crate) struct Registered {
    pub(crate) tool: Box<dyn Tool>,
    pub(crate) definition: Definition,
    pub(crate) kind: Kind,
    schema: Schema,
    pub(crate) limits: Arc<Limits>,
    /// How long a call may take.
    pub(crate) timeout: Duration,
    /// As it was registered, or what has it was.
    registration: Option<ToolDefinition>,
}

/// Where a tool comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BuiltIn,
    /// Somebody has said what it is.
    Registered,
    /// Somebody may serve it, but nobody has said what it is.
    Unregistered,
}

/// The tools by their names: the built-in ones, and those that are registered. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    built_in: Arc<BTreeMap<String, Arc<Registered>>>,
    /// What workflows call by itself: no tools that anybody could list.
    calls: Arc<BTreeMap<String, Arc<Registered>>>,
    definitions: Definitions,
}

impl Registry {
    pub(crate) fn new(bus: &Bus, config: &Config) -> anyhow::Result<Self> {
        let outbound = Outbound::new(config)?;
        let tools: Vec<Box<dyn Tool>> = vec![
            Box::new(calculate::Calculate),
            Box::new(deliverable::FetchDeliverable { bus: bus.clone() }),
            Box::new(echo::Echo),
            Box::new(http::HttpRequest { outbound: outbound.clone() }),
            Box::new(search::Search { bus: bus.clone() }),
            Box::new(text::TextCoverage { bus: bus.clone() }),
            Box::new(text::TextStats { bus: bus.clone() }),
        ];
        let register = |tool| {
            let limits = Limits::standard(config);
            let tool = Registered::new(tool, Kind::BuiltIn, limits, config.timeout)?;
            Ok((tool.definition.name.to_string(), Arc::new(tool)))
        };
        let built_in = tools.into_iter().map(register).collect::<Result<_, Error>>()?;
        let net = Arc::new(Net::new(&outbound, config));
        let calls = calls::tools(&net, config).into_iter().map(register);
        let calls = calls.collect::<Result<_, Error>>()?;
        Ok(Self {
            built_in: Arc::new(built_in),
            calls: Arc::new(calls),
            definitions: Definitions::new(Kinds::new(bus, config, net)),
        })
    }

    /// The tool of this name. One that is not registered may be served all the same, so it is asked with the greatest care.
    pub(crate) async fn find(&self, name: &str) -> Result<Arc<Registered>, Error> {
        if let Some(call) = self.calls.get(name) {
            return Ok(call.clone());
        }
        match self.known(name).await? {
            Some(tool) => Ok(tool),
            None => self.definitions.unregistered(name).map(Arc::new),
        }
    }

    /// The tool of this name, where it is built in or registered.
    pub(crate) async fn known(&self, name: &str) -> Result<Option<Arc<Registered>>, Error> {
        match self.built_in.get(name) {
            Some(tool) => Ok(Some(tool.clone())),
            None => Box::pin(self.definitions.tool(name)).await,
        }
    }

    /// What has this name, as it is shown; `NAME__*` is all that the server or document NAME has.
    pub(crate) async fn named(&self, name: &str) -> Result<Option<Vec<ToolDefinition>>, Error> {
        match self.built_in.get(name) {
            Some(tool) => Ok(Some(vec![tool.describe(0)])),
            None => self.definitions.named(name).await,
        }
    }

    /// The tools in the order of their names.
    pub(crate) async fn all(&self) -> Result<Vec<ToolDefinition>, Error> {
        let mut tools: Vec<_> = self.built_in.values().map(|tool| tool.describe(0)).collect();
        tools.extend(self.definitions.all().await?);
        tools.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tools)
    }

    /// The tools of this service itself.
    pub(crate) fn built_in(&self) -> &BTreeMap<String, Arc<Registered>> {
        &self.built_in
    }

    pub(crate) const fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// The names of the tools, for errors.
    pub(crate) async fn names(&self) -> String {
        let mut names: Vec<_> = self.built_in.keys().cloned().collect();
        // Where the bucket cannot be read, those that are always there are told.
        names.extend(self.definitions.names().await.unwrap_or_default());
        names.sort();
        names.join(", ")
    }
}

impl Registered {
    pub(crate) fn new(
        tool: Box<dyn Tool>,
        kind: Kind,
        limits: Arc<Limits>,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let definition = tool.definition();
        let parameters = &definition.parameters;
        let schema = match kind {
            Kind::BuiltIn => Schema::trusted(parameters),
            Kind::Registered | Kind::Unregistered => Schema::parse(parameters),
        };
        let schema = schema.map_err(|problem| {
            let name = &definition.name;
            Error::Invalid(format!(
                "`parameters` of the tool {name:?} is no JSON Schema that can be used: {problem}"
            ))
        })?;
        Ok(Self { tool, definition, kind, schema, limits, timeout, registration: None })
    }

    /// The same as one that was registered like this.
    pub(crate) fn registered(self, registration: ToolDefinition) -> Self {
        Self { registration: Some(registration), ..self }
    }

    /// The tool as the contract shows it.
    pub(crate) fn describe(&self, revision: u64) -> ToolDefinition {
        let built_in = || ToolDefinition { kind: "built_in".to_owned(), ..Default::default() };
        ToolDefinition {
            name: self.definition.name.to_string(),
            description: self.definition.description.to_string(),
            parameters: Some(JsonObject::wrap(self.definition.parameters.clone())),
            effect: self.definition.effect.name().to_owned(),
            timeout_ms: u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX),
            revision,
            ..self.registration.clone().unwrap_or_else(built_in)
        }
    }

    /// Checks arguments against the tool's schema.
    pub(crate) fn check(&self, arguments: &Map<String, Value>) -> Result<(), Error> {
        let arguments = Value::Object(arguments.clone());
        let violations = self.schema.violations(&arguments).into_iter();
        let problems: Vec<String> = violations
            .map(|(path, problem)| {
                let place = if path.is_empty() { "the arguments".to_owned() } else { path };
                format!("at {place}: {problem}")
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Invalid(format!(
            "the arguments do not fit the tool {}: {}",
            self.definition.name,
            problems.join("; ")
        )))
    }
}

/// The arguments as a tool's own type.
fn arguments<T: DeserializeOwned>(call: &Call) -> Result<T, Error> {
    serde_json::from_value(Value::Object(call.arguments.clone())).map_err(|error| {
        Error::Invalid(format!("the arguments of the tool {}: {error}", call.name))
    })
}

/// Runs a computation that takes too long for a thread that serves others.
async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(anyhow!(error).context("a computation broke off")))
}
