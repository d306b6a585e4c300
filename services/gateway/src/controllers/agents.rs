//! `/v1/agents`.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
