//! What cannot be read where only the platform writes: nobody's bad input, and no later try reads it.
//!
//! It is INTERNAL, and still its place is told, to whoever mends it: the log, a dead letter. What a client is told stays «internal error».

use muster_contracts::{Code, Fault, HasCode};
use serde_json::{Value, json};

/// Marks the fault in its details, on its way through the services.
const MARK: &str = "damaged";

/// The fault of an entry that cannot be read; others stay as they are.
pub(crate) fn of_entry(subject: &str, sequence: u64, stream: &str, fault: Fault) -> Fault {
    if fault.code != Code::Invalid {
        return fault;
    }
    let reason = fault.message;
    let text = format!("{subject} at sequence {sequence} of {stream} cannot be read: {reason}");
    Fault::new(Code::Internal, text).with_details(json!({ MARK: true }))
}

/// Whether it is damage that an error tells.
pub(crate) fn is<E: HasCode>(error: &E) -> bool {
    error.code() == Code::Internal && error.details().get(MARK) == Some(&Value::Bool(true))
}
