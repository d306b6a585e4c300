//! The built-in tools, behind one trait, and their registry.

mod calculate;
mod deliverable;
mod echo;
mod http;
mod search;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::anyhow;
use futures::future::BoxFuture;
use jsonschema::Validator;
use muster_bus::Bus;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;

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

    /// Does it. The arguments fit the schema.
    fn call<'a>(&'a self, call: &'a Call) -> Work<'a>;
}

/// A tool with what the registry needs of it.
pub(crate) struct Registered {
    pub(crate) tool: Box<dyn Tool>,
    pub(crate) definition: Definition,
    schema: Validator,
    /// Calls at the same time.
    pub(crate) slots: Semaphore,
}

/// The tools of this service by their names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Registry {
    tools: Arc<BTreeMap<&'static str, Registered>>,
}

impl Registry {
    /// The built-in tools.
    pub(crate) fn new(bus: &Bus, config: &Config) -> anyhow::Result<Self> {
        let tools: Vec<Box<dyn Tool>> = vec![
            Box::new(calculate::Calculate),
            Box::new(deliverable::FetchDeliverable { bus: bus.clone() }),
            Box::new(echo::Echo),
            Box::new(http::HttpRequest::new(config)?),
            Box::new(search::Search { bus: bus.clone() }),
            Box::new(text::TextCoverage { bus: bus.clone() }),
            Box::new(text::TextStats { bus: bus.clone() }),
        ];
        let register = |tool: Box<dyn Tool>| {
            let definition = tool.definition();
            let schema = jsonschema::validator_for(&definition.parameters)
                .map_err(|error| anyhow!("the schema of the tool {}: {error}", definition.name))?;
            let slots = Semaphore::new(config.concurrency);
            Ok((definition.name, Registered { tool, definition, schema, slots }))
        };
        let tools = tools.into_iter().map(register).collect::<anyhow::Result<_>>()?;
        Ok(Self { tools: Arc::new(tools) })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Registered> {
        self.tools.get(name)
    }

    /// The tools in the order of their names.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Registered> {
        self.tools.values()
    }

    /// The names of the tools, for errors.
    pub(crate) fn names(&self) -> String {
        self.tools.keys().copied().collect::<Vec<_>>().join(", ")
    }
}

impl Registered {
    /// Checks arguments against the tool's schema.
    pub(crate) fn check(&self, arguments: &Map<String, Value>) -> Result<(), Error> {
        let arguments = Value::Object(arguments.clone());
        let problems: Vec<String> = self
            .schema
            .iter_errors(&arguments)
            .take(5)
            .map(|error| {
                let path = error.instance_path().to_string();
                let place = if path.is_empty() { "the arguments".to_owned() } else { path };
                format!("at {place}: {}", error.to_string().chars().take(300).collect::<String>())
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
