//! `call: http`.

use std::sync::Arc;

use futures::FutureExt;
use serde_json::{Map, Value, json};

use super::answer::Output;
use super::request::{Ask, effect, method};
use super::vault::Vault;
use super::{Net, raised};
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::tools::{Tool, Work};

pub(super) struct Http {
    pub(super) net: Arc<Net>,
}

impl Tool for Http {
    fn definition(&self) -> Definition {
        Definition {
            name: "call:http".into(),
            description: "".into(),
            parameters: json!({ "type": "object" }),
            effect: Effect::Once,
        }
    }

    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        let method = arguments.get("method").and_then(Value::as_str).unwrap_or_default();
        effect(method, arguments.get("headers"))
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        async move {
            let mut vault = Vault::open(&self.net.secrets, &call.secrets, &call.arguments).await?;
            let result = match ask(&call.arguments) {
                Ok(ask) => self.net.perform(&ask, &call.idempotency_key, &mut vault).await,
                Err(error) => Err(error),
            };
            result.map_err(|error| vault.mask_error(error))
        }
        .boxed()
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
