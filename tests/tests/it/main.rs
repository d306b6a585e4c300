//! The platform as a whole, on real servers and real processes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test helpers"
)]

mod canary;
mod cancel;
mod chaos;
mod cluster;
mod conformance;
mod deliverables;
mod deploy;
mod desk;
mod documents;
mod events;
mod hostile;
mod journey;
mod large;
mod openai;
mod outward;
mod permissions;
mod platform;
mod readme;
mod stopping;
mod templates;
mod tidy;
mod time_travel;
mod waiting;
mod workers;
