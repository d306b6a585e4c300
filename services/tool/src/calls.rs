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
mod request;
mod resource;
mod rpc;
mod run;
mod secrets;
mod vault;

use std::sync::Arc;

use serde_json::{Value, json};

pub(crate) use self::resource::Resources;
pub(crate) use self::secrets::Secrets;
use crate::calls::oauth::Tokens;
use crate::config::Config;
use crate::error::Error;
use crate::outbound::Outbound;
use crate::tools::Tool;

/// Begins the name of each of these tools; no tool of a worker can have it.
const PREFIX: &str = "call:";

/// What these calls share.
struct Net {
    outbound: Outbound,
    secrets: Secrets,
    tokens: Tokens,
}

/// All of them.
pub(crate) fn tools(outbound: &Outbound, config: &Config) -> Vec<Box<dyn Tool>> {
    let net = Arc::new(Net {
        outbound: outbound.clone(),
        secrets: config.secrets.clone(),
        tokens: Tokens::default(),
    });
    let processes = config.processes.clone();
    vec![
        Box::new(http::Http { net: net.clone() }),
        Box::new(openapi::Openapi::new(net.clone())),
        Box::new(mcp::Mcp { net: net.clone(), processes: processes.clone() }),
        Box::new(a2a::A2a { net: net.clone() }),
        Box::new(run::Run { net, processes }),
    ]
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
    Error::Raised { kind, status, detail: detail.into() }
}

/// Errors on the way to a server, as the language knows them: what a workflow may do about them, its own `retry` says.
fn outward(error: Error) -> Error {
    match error {
        Error::Unavailable(text) => raised("communication", 503, text),
        Error::Invalid(text) => raised("communication", 500, text),
        other => other,
    }
}
