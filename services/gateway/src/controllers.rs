//! One file for each thing that a client can ask for.

pub(crate) mod agents;
pub(crate) mod allowances;
pub(crate) mod approvals;
pub(crate) mod collections;
pub(crate) mod dead_letters;
pub(crate) mod deliverables;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod memory;
pub(crate) mod model_aliases;
pub(crate) mod openai;
pub(crate) mod provider_keys;
pub(crate) mod streams;
pub(crate) mod templates;
pub(crate) mod threads;
pub(crate) mod tools;
pub(crate) mod workflows;
