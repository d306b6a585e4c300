//! The example, run on a document and told to a person.

pub(crate) mod document;
pub(crate) mod example;
pub(crate) mod follow;
pub(crate) mod narrate;
pub(crate) mod platform;
pub(crate) mod report;
pub(crate) mod savings;
