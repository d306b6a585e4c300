#![doc = include_str!("../README.md")]

mod context;
pub mod database;
mod env;
pub mod files;
mod health;
pub mod logs;
mod metrics;
mod process;
mod service;
pub mod testing;

pub use context::Context;
pub use database::Database;
pub use env::{Env, SecretSetting, SettingError};
pub use health::Readiness;
pub use process::{Stop, main, run};
pub use service::Service;

/// Every process of ours makes and drops many small values on all its threads: with the C library's allocator that was a
/// third of its time (docs/performance.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
