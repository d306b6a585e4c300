//! `/v1/tools`.

pub(crate) mod call;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
