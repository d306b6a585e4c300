//! One request a file.

pub(crate) mod complete;
