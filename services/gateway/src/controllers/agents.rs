//! `/v1/agents`.

pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod inbox;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod versions;
