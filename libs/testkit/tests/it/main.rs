//! The testkit's own promises, on real servers.
#![expect(clippy::unwrap_used, reason = "test helpers")]

mod cluster;
mod database;
mod eventually;
mod model;
mod nats;
mod process;
mod proxy;
mod web;

use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
