//! What the requests do.

pub(crate) mod definition;
pub(crate) mod render;
pub(crate) mod stage;
