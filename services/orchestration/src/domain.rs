//! Pure translations between the contract and the workflow engine.

pub(crate) mod answer;
pub(crate) mod child;
pub(crate) mod command;
pub(crate) mod control;
pub(crate) mod due;
pub(crate) mod event;
pub(crate) mod fault;
pub(crate) mod lifecycle;
pub(crate) mod state;
