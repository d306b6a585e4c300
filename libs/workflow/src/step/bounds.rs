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

/// An error whose texts are cut where nobody would read on: it is written down for every task that
/// it passes, and goes out in a message.
pub(super) fn short(mut error: Error) -> Error {
    let texts = [&mut error.r#type, &mut error.title, &mut error.detail, &mut error.instance];
    for text in texts {
        if text.len() > limits::ERROR_BYTES {
            let end = text.floor_char_boundary(limits::ERROR_BYTES);
            text.truncate(end);
            text.push('…');
        }
    }
    error
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
