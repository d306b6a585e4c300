//! One request a file.

pub(crate) mod allowances;
pub(crate) mod complete;
pub(crate) mod definition;
pub(crate) mod embed;
pub(crate) mod handed_out;
pub(crate) mod invalidate;
pub(crate) mod provider_keys;
pub(crate) mod virtual_keys;
