//! Settings.

use muster_runtime::{Env, SettingError};

use crate::domain::lifecycle::Lifecycle;

pub(crate) struct Config {
    pub(crate) concurrency: usize,
    /// Executions in memory.
    pub(crate) hot: u64,
    /// Bytes of all executions in memory.
    pub(crate) hot_bytes: u64,
    pub(crate) lifecycle: Lifecycle,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> Result<Self, SettingError> {
        Ok(Self {
            concurrency: env.within("MUSTER_ORCHESTRATION_CONCURRENCY", 256, 1..=4_096)?,
            hot: env.within("MUSTER_ORCHESTRATION_HOT", 10_000, 1..=10_000_000)?,
            hot_bytes: env.within("MUSTER_ORCHESTRATION_HOT_MIB", 256, 1..=1_048_576)? << 20,
            lifecycle: env.parse("MUSTER_LIFECYCLE_EVENTS", Lifecycle::Off)?,
        })
    }
}
