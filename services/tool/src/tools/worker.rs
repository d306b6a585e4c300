//! A tool that a worker on the bus serves, in any language.

use std::time::Duration;

use futures::FutureExt;
use muster_bus::{Bus, Unanswered};
use muster_contracts::tool::v1::CallToolRequest;
use muster_contracts::{Code, JsonObject};
use serde_json::{Map, Value};

use super::{Tool, Work};
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;

/// The call's own clock ends first: it knows what the effect class makes of a late answer.
const MARGIN: Duration = Duration::from_secs(1);
/// The largest call, in bytes of its JSON: a larger one would travel by the object store, which a plain worker does not know.
const MAX_CALL: usize = 512 << 10;

pub(crate) struct Worker {
    pub(crate) bus: Bus,
    pub(crate) definition: Definition,
    pub(crate) timeout: Duration,
}

impl Tool for Worker {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn effect(&self, _arguments: &Map<String, Value>) -> Effect {
        self.definition.effect
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        self.ask(call).boxed()
    }
}

impl Worker {
    async fn ask(&self, call: &Call) -> Result<Value, Error> {
        let request = CallToolRequest {
            name: call.name.clone(),
            arguments: Some(JsonObject(call.arguments.clone())),
            idempotency_key: call.idempotency_key.clone(),
            execution_id: call.execution_id.clone(),
            task: call.task.clone(),
        };
        check_size(&request)?;
        match self.bus.ask(&request, self.timeout + MARGIN).await {
            Ok(Ok(answer)) => Ok(answer.result.unwrap_or_default().0),
            Ok(Err(fault)) => Err(Error::Bus(fault)),
            Err(Unanswered { fault, sent: false }) if fault.code == Code::Unavailable => {
                Err(Error::Unserved(call.name.clone()))
            }
            // It was sent, and nobody knows how far it came.
            Err(Unanswered { fault, sent: true }) if self.definition.effect == Effect::Once => {
                Err(Error::Interrupted(fault.message))
            }
            // Final: a worker that answers nonsense does so again.
            Err(Unanswered { fault, sent: true }) if fault.code == Code::Internal => {
                let text = format!("the worker of tools.{} answered no result", call.name);
                Err(Error::Conflict(format!("{text}: {}", fault.message)))
            }
            Err(unanswered) => Err(Error::Bus(unanswered.fault)),
        }
    }
}

fn check_size(request: &CallToolRequest) -> Result<(), Error> {
    let size = serde_json::to_vec(request).map(|body| body.len()).unwrap_or_default();
    if size > MAX_CALL {
        return Err(Error::Invalid(format!(
            "the call of the tool {} has {size} bytes, but must have at most {MAX_CALL}; pass the address of a deliverable, or a URL",
            request.name
        )));
    }
    Ok(())
}
