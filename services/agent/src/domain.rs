//! What a run is and what it does next: pure, without bus, clock or randomness.

pub(crate) mod approval;
pub(crate) mod context;
pub(crate) mod conversation;
pub(crate) mod definition;
pub(crate) mod fact;
pub(crate) mod memory;
pub(crate) mod notice;
pub(crate) mod presence;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod team;
pub(crate) mod template;
pub(crate) mod thread;
pub(crate) mod tool_search;
