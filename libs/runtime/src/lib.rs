#![doc = include_str!("../README.md")]

mod context;
pub mod database;
mod env;
mod health;
mod logs;
mod metrics;
mod process;
mod service;
pub mod testing;

pub use context::Context;
pub use database::Database;
pub use env::{Env, SettingError};
pub use health::Readiness;
pub use process::{Stop, main, run};
pub use service::Service;
