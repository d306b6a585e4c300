//! What can be registered: tools of workers, requests, operations of documents, servers of the Model Context Protocol, modules.

mod http;
mod mcp;
mod openapi;
mod template;
mod wasm;

use std::ops::Deref;
use std::sync::Arc;

use futures::future::BoxFuture;
use muster_bus::Bus;
use muster_contracts::tool::v1::ToolDefinition;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::calls::{self, Net};
use crate::config::Config;
use crate::domain::call::{Definition, Effect};
use crate::error::Error;
use crate::limits::Limits;
use crate::tools::definitions::timeout;
use crate::tools::worker::Worker;
use crate::tools::{Kind, Registered, Tool};

/// The tools of a server or document.
pub(crate) type Tools = Arc<Vec<Arc<Registered>>>;

/// Makes what is registered ready. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Kinds(Arc<Shared>);

/// What the kinds need.
pub(crate) struct Shared {
    pub(crate) bus: Bus,
    pub(crate) config: Config,
    net: Arc<Net>,
    http: Arc<dyn Tool>,
    openapi: Arc<calls::Documents>,
    sandbox: wasm::Sandbox,
}

impl Deref for Kinds {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What is registered under one name.
#[derive(Clone)]
pub(crate) enum Entry {
    Tool(Arc<Registered>),
    /// A server or document that has tools.
    Source(Arc<dyn Source>),
    /// What could be called when it was registered, and cannot now.
    Broken(Arc<Broken>),
}

/// A definition that cannot be made ready.
pub(crate) struct Broken {
    pub(crate) definition: ToolDefinition,
    pub(crate) problem: String,
}

/// A server or document that has tools.
pub(crate) trait Source: Send + Sync {
    /// As it was registered.
    fn definition(&self) -> &ToolDefinition;

    /// What it is, for errors.
    fn who(&self) -> String;

    /// Its tools; the server or document is asked where they are not known yet.
    fn tools(&self) -> BoxFuture<'_, Result<Tools, Error>>;

    /// Its tools as they were last known.
    fn known(&self) -> Tools;

    /// The revision of the protocol that is spoken with it now, where it is a server of one.
    fn protocol(&self) -> String {
        String::new()
    }
}

impl Entry {
    /// As it is shown. A server or document is asked for its tools, and the definition says where it does not answer.
    pub(crate) async fn describe(&self, revision: u64) -> ToolDefinition {
        match self {
            Self::Tool(tool) => tool.describe(revision),
            Self::Source(source) => ToolDefinition {
                revision,
                problem: source
                    .tools()
                    .await
                    .err()
                    .map(|error| error.to_string())
                    .unwrap_or_default(),
                // Behind the question above, which connects.
                protocol: source.protocol(),
                ..source.definition().clone()
            },
            Self::Broken(broken) => ToolDefinition {
                revision,
                problem: broken.problem.clone(),
                ..broken.definition.clone()
            },
        }
    }
}

impl Kinds {
    pub(crate) fn new(bus: &Bus, config: &Config, net: Arc<Net>) -> Self {
        Self(Arc::new(Shared {
            bus: bus.clone(),
            config: config.clone(),
            http: Arc::from(calls::http(&net)),
            openapi: Arc::new(calls::documents(&net)),
            net,
            sandbox: wasm::Sandbox::new(&config.modules),
        }))
    }

    /// The definition with what a look outside adds to it, as it is kept.
    pub(crate) async fn complete(
        &self,
        definition: ToolDefinition,
    ) -> Result<ToolDefinition, Error> {
        match definition.kind.as_str() {
            "openapi" => openapi::complete(self, definition).await,
            "wasm" => wasm::complete(self, definition).await,
            _ => Ok(definition),
        }
    }

    /// Makes a definition ready.
    pub(crate) async fn make(&self, definition: &ToolDefinition) -> Result<Entry, Error> {
        match definition.kind.as_str() {
            "http" => self.tool(http::tool(self, definition)?, definition),
            "openapi" => openapi::entry(self, definition),
            "mcp" => Ok(Entry::Source(mcp::source(self, definition)?)),
            "wasm" => self.tool(wasm::tool(self, definition).await?, definition),
            _ => {
                let worker = Worker {
                    bus: self.bus.clone(),
                    definition: described(definition, Effect::Once),
                    timeout: timeout(definition, self.config.timeout),
                };
                self.tool(Box::new(worker), definition)
            }
        }
    }

    /// A tool under its own name.
    fn tool(&self, tool: Box<dyn Tool>, definition: &ToolDefinition) -> Result<Entry, Error> {
        let limits = Limits::of(&self.bus, &self.config, definition);
        let timeout = timeout(definition, self.config.timeout);
        let tool = Registered::new(tool, Kind::Registered, limits, timeout)?;
        Ok(Entry::Tool(Arc::new(tool.registered(definition.clone()))))
    }

    /// A tool of a server or document, within the limits of that.
    fn tool_of(
        &self,
        source: &ToolDefinition,
        limits: &Arc<Limits>,
        tool: Box<dyn Tool>,
    ) -> Result<Arc<Registered>, Error> {
        let timeout = timeout(source, self.config.timeout);
        let tool = Registered::new(tool, Kind::Registered, limits.clone(), timeout)?;
        let registration = ToolDefinition {
            kind: source.kind.clone(),
            source: source.name.clone(),
            max_concurrency: source.max_concurrency,
            rate: source.rate,
            ..Default::default()
        };
        Ok(Arc::new(tool.registered(registration)))
    }
}

/// What a definition says about its tool; `standard` is the class where it says none.
fn described(definition: &ToolDefinition, standard: Effect) -> Definition {
    Definition {
        name: definition.name.clone().into(),
        description: definition.description.clone().into(),
        parameters: definition.parameters.clone().unwrap_or_default().into_value(),
        effect: Effect::from_name(&definition.effect).unwrap_or(standard),
    }
}

/// What the kind needs, as its own type.
fn with<T: DeserializeOwned>(definition: &ToolDefinition) -> Result<T, Error> {
    let with = definition.with.clone().unwrap_or_default().into_value();
    serde_json::from_value(with).map_err(|error| {
        Error::Invalid(format!("`with` of the kind {} is wrong: {error}", definition.kind))
    })
}

/// An address, or an address with how to be let in there.
fn endpoint(field: &str, given: &Value) -> Result<(String, Option<Value>), Error> {
    let (uri, authentication) = match given {
        Value::String(uri) => (uri.clone(), None),
        Value::Object(fields) => (
            fields.get("uri").and_then(Value::as_str).unwrap_or_default().to_owned(),
            fields.get("authentication").filter(|policy| !policy.is_null()).cloned(),
        ),
        _ => (String::new(), None),
    };
    let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
    let host = rest.unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.contains(['{', '}']) {
        return Err(Error::Invalid(format!(
            "`with.{field}` is {given:.200}, but must be an http address whose host is no argument, such as https://api.example.com/, or a map with `uri` and `authentication`"
        )));
    }
    Ok((uri, authentication))
}
