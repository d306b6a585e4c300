//! `/v1/templates`.

pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
pub(crate) mod render;
pub(crate) mod versions;
