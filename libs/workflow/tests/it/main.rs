//! The engine as its users see it: documents in, facts and effects out.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

mod asyncapi;
mod calls;
mod cancel;
mod children;
mod crashes;
mod documents;
mod driver;
mod errors;
mod events;
mod examples;
mod extensions;
mod flow;
mod fork;
mod functions;
mod hostile;
mod hostile_places;
mod http;
mod language;
mod limits;
mod places;
mod problems;
mod programs;
mod protocols;
mod replay;
mod replayed;
mod retry;
mod schedules;
mod suspend;
mod team;
mod timers;
mod versions;
