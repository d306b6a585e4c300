//! What a request is and what becomes of a reply; no I/O.

pub(crate) mod caching;
pub(crate) mod content;
pub(crate) mod definition;
pub(crate) mod pictures;
pub(crate) mod prompt;
pub(crate) mod reply;
pub(crate) mod script;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod thinking;
pub(crate) mod tokens;
pub(crate) mod usage;
