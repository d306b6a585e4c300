//! The platform as a whole, on real servers and real processes.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test helpers"
)]

mod chaos;
mod cluster;
mod deploy;
mod documents;
mod hostile;
mod journey;
mod permissions;
mod platform;
mod readme;
mod stopping;
mod tidy;
mod workers;
