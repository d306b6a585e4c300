//! `/v1/agents/{name}/memory`.

pub(crate) mod forget;
pub(crate) mod list;
