//! The secrets that a workflow declares: whether they are there. What is in them only the tool service sees.

use muster_bus::Bus;
use muster_contracts::tool::v1::ListSecretsRequest;
use muster_contracts::{Code, Fault};
use muster_workflow::Definition;

use crate::Error;

/// Refuses a workflow whose secrets are not all there.
pub(crate) async fn are_there(bus: &Bus, definition: &Definition) -> Result<(), Error> {
    let declared = &definition.references().secrets;
    if declared.is_empty() {
        return Ok(());
    }
    let known = bus.request(&ListSecretsRequest {}).await.map_err(away)?.names;
    match declared.iter().find(|(name, _)| !known.contains(name)) {
        None => Ok(()),
        Some((secret, pointer)) => {
            Err(Error::UnknownSecret { secret: secret.clone(), pointer: pointer.clone() })
        }
    }
}

fn away(fault: Fault) -> Fault {
    if !matches!(fault.code, Code::Unavailable | Code::Deadline) {
        return fault;
    }
    let message = format!(
        "the workflow uses secrets, and whether they are there only the tool service knows, which does not answer: {}",
        fault.message
    );
    Fault::new(fault.code, message)
}
