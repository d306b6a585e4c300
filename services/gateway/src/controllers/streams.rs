//! `/v1/streams`.

pub(crate) mod agent;
pub(crate) mod get;
pub(crate) mod list;
