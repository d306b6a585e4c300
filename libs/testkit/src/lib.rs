#![doc = include_str!("../README.md")]
#![expect(clippy::panic, reason = "a test helper's answer to a missing server is to fail the test")]

mod cluster;
mod database;
mod dev;
mod eventually;
mod kept;
mod model;
mod nats;
mod process;
mod proxy;
mod signal;
mod users;
mod web;

pub use cluster::Cluster;
pub use database::Database;
pub use eventually::{Outcome, eventually};
pub use model::{Answer, Breakage, Finish, RecordedRequest, ScriptedModel};
pub use nats::NatsServer;
pub use process::{Process, Program, free_port};
pub use proxy::FaultProxy;
pub use web::{WebRequest, WebServer};

/// The path of the nats-server program, for a test that needs another configuration than [`NatsServer`] has.
///
/// # Panics
/// When it is missing and cannot be fetched.
pub fn nats_server_program() -> std::path::PathBuf {
    or_fail(dev::nats_server())
}

/// The repository's root folder.
///
/// # Panics
/// When the test runs outside of the repository.
pub fn repository() -> std::path::PathBuf {
    or_fail(dev::root())
}

/// The value, or a failed test that says the whole chain of causes.
#[track_caller]
fn or_fail<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}
