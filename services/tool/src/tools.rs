//! The tools behind one trait, and their registry.

mod calculate;
mod deliverable;
mod echo;
mod http;
mod search;
mod text;
mod worker;
mod workers;

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
use tokio::sync::Semaphore;

use crate::calls::{self, Net};
use crate::config::Config;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::outbound::Outbound;
use crate::tools::workers::Workers;

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
    /// Calls at the same time.
    pub(crate) slots: Semaphore,
    /// How long a call may take.
    pub(crate) timeout: Duration,
}

/// Where a tool comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BuiltIn,
    Worker,
    /// Somebody may serve it, but nobody has said what it is.
    Unregistered,
}

/// The tools by their names: the built-in ones, and those that workers serve. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    built_in: Arc<BTreeMap<String, Arc<Registered>>>,
    /// What workflows call by itself: no tools that anybody could list.
    calls: Arc<BTreeMap<String, Arc<Registered>>>,
    workers: Workers,
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
            let tool = Registered::new(tool, Kind::BuiltIn, config, config.timeout)?;
            Ok((tool.definition.name.to_string(), Arc::new(tool)))
        };
        let built_in = tools.into_iter().map(register).collect::<Result<_, Error>>()?;
        let net = Arc::new(Net::new(&outbound, config));
        let calls = calls::tools(&net, config).into_iter().map(register);
        let calls = calls.collect::<Result<_, Error>>()?;
        Ok(Self {
            built_in: Arc::new(built_in),
            calls: Arc::new(calls),
            workers: Workers::new(bus, config),
        })
    }

    /// The tool of this name. One that is not registered may be served all the same, so it is asked with the greatest care.
    pub(crate) async fn find(&self, name: &str) -> Result<Arc<Registered>, Error> {
        if let Some(call) = self.calls.get(name) {
            return Ok(call.clone());
        }
        match self.known(name).await? {
            Some(tool) => Ok(tool),
            None => self.workers.unregistered(name).map(Arc::new),
        }
    }

    /// The tool of this name, where it is built in or registered.
    pub(crate) async fn known(&self, name: &str) -> Result<Option<Arc<Registered>>, Error> {
        match self.built_in.get(name) {
            Some(tool) => Ok(Some(tool.clone())),
            None => self.workers.get(name).await,
        }
    }

    /// The tools in the order of their names.
    pub(crate) async fn all(&self) -> Result<Vec<Arc<Registered>>, Error> {
        let mut tools: Vec<_> = self.built_in.values().cloned().collect();
        for name in self.workers.names().await? {
            tools.extend(self.workers.get(&name).await?);
        }
        tools.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        Ok(tools)
    }

    /// The tools of this service itself.
    pub(crate) fn built_in(&self) -> &BTreeMap<String, Arc<Registered>> {
        &self.built_in
    }

    pub(crate) const fn workers(&self) -> &Workers {
        &self.workers
    }

    /// The names of the tools, for errors.
    pub(crate) async fn names(&self) -> String {
        let mut names: Vec<_> = self.built_in.keys().cloned().collect();
        // Where the bucket cannot be read, those that are always there are told.
        names.extend(self.workers.names().await.unwrap_or_default());
        names.sort();
        names.join(", ")
    }
}

impl Registered {
    fn new(
        tool: Box<dyn Tool>,
        kind: Kind,
        config: &Config,
        timeout: Duration,
    ) -> Result<Self, Error> {
        let definition = tool.definition();
        let parameters = &definition.parameters;
        let schema = match kind {
            Kind::BuiltIn => Schema::trusted(parameters),
            Kind::Worker | Kind::Unregistered => Schema::parse(parameters),
        };
        let schema = schema.map_err(|problem| {
            let name = &definition.name;
            Error::Invalid(format!(
                "`parameters` of the tool {name:?} is no JSON Schema that can be used: {problem}"
            ))
        })?;
        let slots = Semaphore::new(config.concurrency);
        Ok(Self { tool, definition, kind, schema, slots, timeout })
    }

    /// The tool as the contract shows it.
    pub(crate) fn describe(&self) -> ToolDefinition {
        ToolDefinition {
            name: self.definition.name.to_string(),
            description: self.definition.description.to_string(),
            parameters: Some(JsonObject::wrap(self.definition.parameters.clone())),
            effect: self.definition.effect.name().to_owned(),
            timeout_ms: u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX),
            kind: if self.kind == Kind::BuiltIn { "built_in" } else { "worker" }.to_owned(),
            ..Default::default()
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
