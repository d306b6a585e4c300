//! `/v1/deliverables`.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod publish;
