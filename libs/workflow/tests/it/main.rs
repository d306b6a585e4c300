//! The engine as its users see it: documents in, facts and effects out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod calls;
mod cancel;
mod children;
mod documents;
mod driver;
mod errors;
mod examples;
mod flow;
mod http;
mod limits;
mod problems;
mod replay;
mod team;
mod timers;
