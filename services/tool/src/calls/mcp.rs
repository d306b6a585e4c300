//! `call: mcp`: a method of a server of the Model Context Protocol. A call is a session of its own.

mod session;
pub(super) mod stdio;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use self::session::Session;
use super::rpc::parameters;
use super::vault::Vault;
use super::{Net, Perform, raised};
use crate::domain::call::{Call, Effect};
use crate::error::Error;
use crate::process::Processes;

/// The revisions of the protocol that are spoken; a server may choose another of them than was asked for.
const VERSIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];
/// What is asked for where the task does not say it.
const VERSION: &str = "2025-06-18";
/// How long the end of a session may take.
const FAREWELL: Duration = Duration::from_secs(2);

pub(super) struct Mcp {
    pub(super) net: Arc<Net>,
    pub(super) processes: Processes,
}

impl Perform for Mcp {
    const NAME: &'static str = "call:mcp";

    fn net(&self) -> &Net {
        &self.net
    }

    /// A tool may do anything; lists, prompts and resources are read.
    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        match arguments.get("method").and_then(Value::as_str) {
            Some("tools/call") | None => Effect::Once,
            Some(_) => Effect::Idempotent,
        }
    }

    async fn perform(&self, call: &Call, vault: &mut Vault) -> Result<Value, Error> {
        let mut session = Session::open(&self.net, &self.processes, (call, &*vault)).await?;
        let limit = call.arguments.get("timeout").and_then(Value::as_u64);
        let limit = limit.map_or(Duration::MAX, Duration::from_millis);
        let result = match timeout(limit, converse(&mut session, call, vault)).await {
            Ok(result) => result,
            Err(_elapsed) => {
                let detail = format!("{} did not answer within {limit:?}", session.who());
                Err(raised("timeout", 408, detail))
            }
        };
        // Where a server does not care for the end of a session, the result is one all the same.
        drop(timeout(FAREWELL, session.close(vault)).await);
        result
    }
}

async fn converse(
    session: &mut Session<'_>,
    call: &Call,
    vault: &mut Vault,
) -> Result<Value, Error> {
    let arguments = &call.arguments;
    let text = |pointer: &str| arguments.get(pointer).and_then(Value::as_str);
    let version = text("protocolVersion").unwrap_or(VERSION);
    let client = arguments.get("client");
    let of_client = |field: &str, default: &str| {
        client.and_then(|client| client.get(field)).cloned().unwrap_or_else(|| json!(default))
    };
    let hello = json!({
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {
            "name": of_client("name", "muster"),
            "version": of_client("version", env!("CARGO_PKG_VERSION")),
        },
    });
    let answer = session.request("initialize", Some(&hello), vault).await?;
    let agreed = answer.get("protocolVersion").and_then(Value::as_str).unwrap_or_default();
    if !VERSIONS.contains(&agreed) {
        let detail = format!(
            "{} speaks the revision {agreed:?} of MCP, but must speak one of {}",
            session.who(),
            VERSIONS.join(", ")
        );
        return Err(raised("communication", 502, detail));
    }
    session.agreed(agreed);
    session.notify("notifications/initialized", vault).await?;
    let method = text("method").unwrap_or_default();
    let result = session.request(method, parameters(arguments).as_ref(), vault).await?;
    if result.get("isError").and_then(Value::as_bool).unwrap_or_default() {
        let name = arguments.get("parameters").and_then(|parameters| parameters.get("name"));
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let detail = format!("the tool {name:?} of {} failed: {}", session.who(), told(&result));
        return Err(raised("runtime", 500, detail));
    }
    Ok(vault.mask_value(result))
}

/// The texts of a result.
fn told(result: &Value) -> String {
    let content = result.get("content").and_then(Value::as_array);
    let texts = content.into_iter().flatten().filter_map(|part| part.get("text")?.as_str());
    texts.collect::<Vec<_>>().join(" ").chars().take(1_000).collect()
}
