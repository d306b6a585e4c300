//! Pure decisions: what a header, an id or a recorded message means.

pub(crate) mod cloud_event;
pub(crate) mod idempotency;
pub(crate) mod letters;
pub(crate) mod name;
pub(crate) mod openai;
pub(crate) mod position;
pub(crate) mod prefer;
pub(crate) mod recorded;
pub(crate) mod responses;
pub(crate) mod written;
