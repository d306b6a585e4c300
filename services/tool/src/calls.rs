//! What the workflow language calls itself: `call: http`, `call: openapi`, `call: mcp`, `call: a2a`, `run: script`, `run: shell`. Each is a tool with a reserved name, so that record, limits and cancellation are those of tools;
//! but only commands of workflows may call them, since they alone say which secrets may be used.

mod a2a;
mod answer;
mod authentication;
mod digest;
mod events;
mod http;
mod mcp;
mod oauth;
mod openapi;
mod refusal;
mod request;
mod resource;
mod rpc;
mod run;
mod secrets;
mod vault;

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Map, Value, json};

pub(crate) use self::events::is_stream;
pub(crate) use self::openapi::Described;
pub(crate) use self::refusal::{again, for_caller};
pub(crate) use self::request::Ask;
pub(crate) use self::resource::Resources;
pub(crate) use self::secrets::Secrets;
pub(crate) use self::vault::{Vault, percent, plain};
use crate::calls::oauth::Tokens;
use crate::config::Config;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::{Again, Error};
use crate::outbound::Outbound;
use crate::tools::{Tool, Work};

/// Begins the name of each of these tools; no tool of a worker can have it.
const PREFIX: &str = "call:";

/// What these calls share.
pub(crate) struct Net {
    outbound: Outbound,
    secrets: Secrets,
    tokens: Tokens,
}

impl Net {
    pub(crate) fn new(outbound: &Outbound, config: &Config) -> Self {
        Self {
            outbound: outbound.clone(),
            secrets: config.secrets.clone(),
            tokens: Tokens::default(),
        }
    }
}

/// One of these calls; its secrets are opened for it, and taken out of its errors.
pub(crate) trait Perform: Send + Sync {
    const NAME: &'static str;

    fn net(&self) -> &Net;

    /// What a second call with these arguments does.
    fn effect(&self, _arguments: &Map<String, Value>) -> Effect {
        Effect::Once
    }

    /// The same, where it takes a look outside to know it.
    fn prepare(
        &self,
        call: &Call,
        _vault: &mut Vault,
    ) -> impl Future<Output = Result<Effect, Error>> + Send {
        std::future::ready(Ok(self.effect(&call.arguments)))
    }

    fn perform(
        &self,
        call: &Call,
        vault: &mut Vault,
    ) -> impl Future<Output = Result<Value, Error>> + Send;
}

/// A call as a tool.
pub(crate) struct Guarded<P>(P);

/// Documents whose operations are called.
pub(crate) type Documents = Guarded<openapi::Openapi>;

impl<P: Perform> Guarded<P> {
    async fn vault(&self, call: &Call) -> Result<Vault, Error> {
        Vault::open(&self.0.net().secrets, &call.secrets, &call.arguments).await
    }
}

impl<P: Perform> Tool for Guarded<P> {
    fn definition(&self) -> Definition {
        Definition {
            name: P::NAME.into(),
            description: "".into(),
            parameters: json!({ "type": "object" }),
            effect: Effect::Once,
        }
    }

    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        self.0.effect(arguments)
    }

    fn prepare<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Result<Effect, Error>> {
        async move {
            let mut vault = self.vault(call).await?;
            let effect = self.0.prepare(call, &mut vault).await;
            effect.map_err(|error| vault.mask_error(error))
        }
        .boxed()
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async move {
            let mut vault = self.vault(call).await?;
            let result = self.0.perform(call, &mut vault).await;
            result.map_err(|error| vault.mask_error(error))
        }
        .boxed()
    }
}

/// All of them.
pub(crate) fn tools(net: &Arc<Net>, config: &Config) -> Vec<Box<dyn Tool>> {
    let processes = config.processes.clone();
    vec![
        http(net),
        Box::new(documents(net)),
        Box::new(Guarded(mcp::Mcp { net: net.clone(), processes: processes.clone() })),
        Box::new(Guarded(a2a::A2a { net: net.clone() })),
        Box::new(Guarded(run::Run { net: net.clone(), processes })),
    ]
}

/// `call: http`.
pub(crate) fn http(net: &Arc<Net>) -> Box<dyn Tool> {
    Box::new(Guarded(http::Http { net: net.clone() }))
}

/// `call: openapi`.
pub(crate) fn documents(net: &Arc<Net>) -> Documents {
    Guarded(openapi::Openapi::new(net.clone()))
}

impl Documents {
    /// The operations of the document that a call names.
    pub(crate) async fn operations(&self, call: &Call) -> Result<Vec<Described>, Error> {
        let mut vault = self.vault(call).await?;
        let document = self.0.document(&call.arguments, &mut vault).await;
        Ok(document.map_err(|error| vault.mask_error(error))?.operations())
    }
}

/// Whether a tool's name is that of one of these.
pub(crate) fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// The error that a task raises, with the name of its standard type.
pub(crate) fn problem(kind: &str, status: u16, detail: &str) -> Value {
    json!({ "type": kind, "status": status, "detail": detail })
}

/// An error of a standard type of the workflow language.
fn raised(kind: &'static str, status: u16, detail: impl Into<String>) -> Error {
    Error::Raised { kind, status, detail: detail.into(), again: Again::Unknown }
}

/// Errors on the way to a server, as the language knows them: what a workflow may do about them, its own `retry` says.
fn outward(error: Error) -> Error {
    match error {
        Error::Unavailable { text: detail, .. } => {
            Error::Raised { kind: "communication", status: 503, detail, again: Again::Unsent }
        }
        Error::Invalid(text) => raised("communication", 500, text),
        other => other,
    }
}
