//! `/v1/events`.

pub(crate) mod publish;
