//! `call: http`.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::answer::Output;
use super::request::{Ask, effect, method};
use super::vault::Vault;
use super::{Net, Perform, raised};
use crate::domain::call::{Call, Effect};
use crate::error::Error;

pub(super) struct Http {
    pub(super) net: Arc<Net>,
}

impl Perform for Http {
    const NAME: &'static str = "call:http";

    fn net(&self) -> &Net {
        &self.net
    }

    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        let method = arguments.get("method").and_then(Value::as_str).unwrap_or_default();
        effect(method, arguments.get("headers"))
    }

    async fn perform(&self, call: &Call, vault: &mut Vault) -> Result<Value, Error> {
        self.net.perform(&ask(&call.arguments)?, &call.idempotency_key, vault).await
    }
}

fn ask(arguments: &Map<String, Value>) -> Result<Ask, Error> {
    let whole = Value::Object(arguments.clone());
    let text = |pointer: &str| whole.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    Ok(Ask {
        method: method(text("/method"))?,
        uri: text("/endpoint/uri").to_owned(),
        headers: map(arguments, "headers")?,
        query: map(arguments, "query")?.into_iter().collect(),
        body: arguments.get("body").cloned().unwrap_or_default(),
        authentication: whole.pointer("/endpoint/authentication").cloned(),
        output: Output::parse(arguments.get("output"))?,
        redirect: arguments.get("redirect").and_then(Value::as_bool).unwrap_or_default(),
    })
}

/// An argument that is a map, or absent.
pub(super) fn map(arguments: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, Error> {
    match arguments.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map.clone()),
        Some(_) => Err(raised("validation", 400, format!("`{name}` must be a map"))),
    }
}
