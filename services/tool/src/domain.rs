//! What tools compute and decide; no I/O.

pub(crate) mod address;
pub(crate) mod call;
pub(crate) mod deliverable;
pub(crate) mod egress;
pub(crate) mod number;
pub(crate) mod rate;
pub(crate) mod registration;
pub(crate) mod text;
