#![doc = include_str!("../README.md")]
#![expect(clippy::panic, reason = "a test helper's answer to a missing server is to fail the test")]

mod database;
mod dev;
mod eventually;
mod model;
mod nats;
mod process;
mod proxy;
mod signal;

pub use database::Database;
pub use eventually::{Outcome, eventually};
pub use model::{Answer, RecordedRequest, ScriptedModel};
pub use nats::NatsServer;
pub use process::{Process, Program, free_port};
pub use proxy::FaultProxy;

/// The value, or a failed test that says the whole chain of causes.
#[track_caller]
fn or_fail<T>(result: anyhow::Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error:#}"))
}
