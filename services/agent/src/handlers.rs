//! One request or event a function, by what they are about.

pub(crate) mod approval;
pub(crate) mod continued;
pub(crate) mod definition;
pub(crate) mod memory;
pub(crate) mod requested;
pub(crate) mod team;
pub(crate) mod thread;
