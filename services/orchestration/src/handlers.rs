//! One request or event a function, by what they are about.

pub(crate) mod call;
pub(crate) mod completion;
pub(crate) mod control;
pub(crate) mod dead_letter;
pub(crate) mod definition;
pub(crate) mod event;
pub(crate) mod execution;
pub(crate) mod lifecycle;
pub(crate) mod time_travel;
