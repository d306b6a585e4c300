//! What a workflow needs from outside becomes a part of it when it is registered: functions of catalogs, schemas at an address.

use std::collections::HashMap;
use std::time::Duration;

use muster_bus::Bus;
use muster_contracts::JsonObject;
use muster_contracts::tool::v1::FetchResourceRequest;
use muster_workflow::{Definition, External, Need, Problem, Problems};
use serde_json::Value;

use crate::Error;

/// How often what was fetched may itself need something.
const ROUNDS: usize = 8;
/// How much one workflow may need.
const LIMIT: usize = 100;
/// How long the tool service may take for one of them.
const DEADLINE: Duration = Duration::from_secs(60);

/// The definition with everything in it that it needs.
pub(crate) async fn pinned(bus: &Bus, definition: Definition) -> Result<Definition, Error> {
    let mut definition = definition;
    let mut known = HashMap::new();
    for _ in 0..ROUNDS {
        if definition.externals().is_empty() {
            return Ok(definition);
        }
        let mut document = definition.document().clone();
        let secrets: Vec<String> = definition.references().secrets.keys().cloned().collect();
        for external in definition.externals() {
            let content = match known.get(&external.uri) {
                Some(content) => Value::clone(content),
                None if known.len() < LIMIT => fetch(bus, external, &secrets).await?,
                None => return Err(told(external, &format!("a workflow needs {LIMIT} at most"))),
            };
            known.insert(external.uri.clone(), content.clone());
            external.pin(&mut document, content).map_err(Error::Problems)?;
        }
        definition = Definition::from_json(document).map_err(Error::Problems)?;
    }
    match definition.externals().first() {
        None => Ok(definition),
        Some(external) => Err(told(
            external,
            &format!("what is fetched needs more, and that again, more than {ROUNDS} times"),
        )),
    }
}

async fn fetch(bus: &Bus, external: &External, secrets: &[String]) -> Result<Value, Error> {
    let request = FetchResourceRequest {
        uri: external.uri.clone(),
        authentication: external.authentication.clone().map(JsonObject::wrap),
        secrets: secrets.to_vec(),
    };
    let resource = bus.request_within(&request, DEADLINE).await;
    let resource = resource.map_err(|fault| told(external, &fault.message))?;
    external.read(&resource.text).map_err(Error::Problems)
}

/// Why something cannot become a part of the workflow.
fn told(external: &External, reason: &str) -> Error {
    let what = match &external.need {
        Need::Function { name } => format!("the function {name}"),
        Need::Schema => "the schema".to_owned(),
    };
    let message = format!("{what} cannot be fetched from {}: {reason}", external.uri);
    Error::Problems(Problems(vec![Problem::new(external.pointer.as_str(), message)]))
}
