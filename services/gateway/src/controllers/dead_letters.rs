//! `/v1/dead-letters`.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod purge;
pub(crate) mod replay;
