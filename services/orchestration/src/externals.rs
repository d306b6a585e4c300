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
/// Bytes of what is fetched, as often as it is used.
const BYTES: usize = 4 << 20;
/// How long it may take to fetch everything.
const DEADLINE: Duration = Duration::from_secs(60);

/// The definition with everything in it that it needs.
pub(crate) async fn pinned(bus: &Bus, definition: Definition) -> Result<Definition, Error> {
    let Some(first) = definition.externals().first().cloned() else { return Ok(definition) };
    match tokio::time::timeout(DEADLINE, complete(bus, definition)).await {
        Ok(pinned) => pinned,
        Err(_elapsed) => {
            let seconds = DEADLINE.as_secs();
            Err(told(&first, &format!("with all others it took longer than {seconds} s")))
        }
    }
}

async fn complete(bus: &Bus, mut definition: Definition) -> Result<Definition, Error> {
    let mut known = HashMap::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let secrets: Vec<String> = definition.references().secrets.keys().cloned().collect();
        let mut document = definition.document().clone();
        for external in definition.externals() {
            let (content, size) = match known.get(&external.uri) {
                Some(fetched) => <(Value, usize)>::clone(fetched),
                None if known.len() < LIMIT => fetch(bus, external, &secrets).await?,
                None => return Err(told(external, &format!("a workflow needs {LIMIT} at most"))),
            };
            bytes += size;
            if bytes > BYTES {
                let reason =
                    format!("with it the workflow has more than {BYTES} bytes from outside");
                return Err(told(external, &reason));
            }
            known.insert(external.uri.clone(), (content.clone(), size));
            external.pin(&mut document, content).map_err(Error::Problems)?;
        }
        definition = Definition::from_json(document).map_err(Error::Problems)?;
        if definition.externals().is_empty() {
            return Ok(definition);
        }
    }
    match definition.externals().first() {
        None => Ok(definition),
        Some(external) => Err(told(
            external,
            &format!("what is fetched needs more, and that again, more than {ROUNDS} times"),
        )),
    }
}

/// What is there, and its size in bytes.
async fn fetch(
    bus: &Bus,
    external: &External,
    secrets: &[String],
) -> Result<(Value, usize), Error> {
    let request = FetchResourceRequest {
        uri: external.uri.clone(),
        authentication: external.authentication.clone().map(JsonObject::wrap),
        secrets: secrets.to_vec(),
    };
    let resource = bus.request_within(&request, DEADLINE).await;
    let resource = resource.map_err(|fault| told(external, &fault.message))?;
    let content = external.read(&resource.text).map_err(Error::Problems)?;
    // Aliases are unfolded: it may be larger than its text.
    let size = content.to_string().len();
    Ok((content, size))
}

/// Why something cannot become a part of the workflow.
fn told(external: &External, reason: &str) -> Error {
    let what = match &external.need {
        Need::Function { name } => format!("the function {name}"),
        Need::Schema => "the schema".to_owned(),
        Need::Channels => "the AsyncAPI document".to_owned(),
    };
    let message = format!("{what} cannot be fetched from {}: {reason}", external.uri);
    Error::Problems(Problems(vec![Problem::new(external.pointer.as_str(), message)]))
}
