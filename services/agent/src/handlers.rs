//! One request or event a function, by what they are about.

pub(crate) mod definition;
pub(crate) mod memory;
pub(crate) mod requested;
pub(crate) mod thread;
