//! Stored keys of providers.

pub(crate) mod delete;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod rewrap;
