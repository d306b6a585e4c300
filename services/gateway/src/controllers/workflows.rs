//! `/v1/workflows`.

pub(crate) mod check;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod put;
