//! One request a file.

pub(crate) mod complete;
pub(crate) mod definition;
pub(crate) mod embed;
