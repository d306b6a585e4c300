//! Who set a message's timer.
//!
//! The broker publishes a scheduled message itself, on whatever subject of the stream the schedule names: the permissions of who wrote the schedule end there. It says where the schedule
//! stood, so that a message is taken only from the schedule that the contract gives it.

use muster_contracts::subject::{covers, pattern};
use muster_contracts::{CATALOGUE, Code, Fault, Message};

use crate::incoming::Incoming;

/// The subject of the schedule that fired a message; written by the broker.
const SCHEDULER: &str = "Nats-Scheduler";

/// # Errors
/// DENIED where a schedule fired the message that is not its own.
pub(crate) fn check<M: Message>(incoming: &Incoming) -> Result<(), Fault> {
    let Some(scheduler) = incoming.header(SCHEDULER) else { return Ok(()) };
    let own = |template: &str| !template.is_empty() && covers(&pattern(template), scheduler);
    let known =
        CATALOGUE.iter().filter(|entry| entry.message == M::NAME).any(|entry| own(entry.schedule));
    if known {
        return Ok(());
    }
    let text = format!("{} was fired by a schedule on {scheduler}, which is not its own", M::NAME);
    Err(Fault::new(Code::Denied, text))
}
