//! How large may be what comes in and goes out.

use serde_json::Value;

use crate::size::{is_longer_than, size};
use crate::{Error, ErrorType, limits};

/// Refuses what is too large to come from outside.
pub(super) fn check_incoming(value: &Value, what: &str) -> Result<(), Error> {
    let size = size(value);
    if size > limits::VALUE_SIZE {
        let limit = limits::VALUE_SIZE;
        let detail = format!("{what} has about {size} bytes, {limit} at most");
        return Err(Error::new(ErrorType::Runtime, detail));
    }
    Ok(())
}

/// Refuses what is too large for a message.
pub(super) fn check_outgoing(value: &Value, what: &str) -> Result<(), Error> {
    if is_longer_than(value, limits::OUTGOING_BYTES) {
        let limit = limits::OUTGOING_BYTES;
        let detail = format!("{what} has more than {limit} bytes as JSON");
        return Err(Error::new(ErrorType::Runtime, detail));
    }
    Ok(())
}
