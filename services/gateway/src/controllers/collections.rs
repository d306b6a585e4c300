//! `/v1/collections`.

pub(crate) mod get;
pub(crate) mod ingest;
pub(crate) mod search;
