//! Pure translations between the contract and the workflow engine.

pub(crate) mod answer;
pub(crate) mod command;
pub(crate) mod fault;
pub(crate) mod state;
